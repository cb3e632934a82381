"""The labels of a split that are probably wrong, with the classes that they probably should be."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from firstlight.evaluation.label_noise import LabelNoise, fit_label_noise, share_interval
from firstlight.evaluation.label_quality import neighbour_votes, neighbours_in_folds
from firstlight.evaluation.neighbours import Neighbours
from firstlight.evaluation.predictions import Predictions

SUSPECT = 0.5  # above it another class is more probable than the label, which is then listed
MIN_IMAGES = 50  # with fewer, the model of label noise cannot be fitted
MIN_GAIN = 3.0  # a network whose accuracy is not this many times that of chance says little about labels


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Predictions for a split by networks that were not trained on its images.

    Args:
        predictions: The predictions, one for each image of the split, in its order.
        folds: Number of the network whose features each image has, int64 [n].
        source: How they were made, for the page: "5 folds of demo".
    """

    predictions: Predictions
    folds: Int64[Tensor, " n"]
    source: str

    @cached_property
    def neighbours(self) -> Neighbours | None:
        """The nearest neighbours of each image among those of its fold; None if the predictions have no features."""
        if self.predictions.features.shape[1] <= 1:
            return None
        return neighbours_in_folds(self.predictions.features, self.folds)


@dataclass(frozen=True, eq=False)
class LabelAudit:
    """Which labels of a split are probably wrong.

    Args:
        noise: Fitted model of label noise.
        interval: 95 % interval of the share of wrong labels.
        rows: Rows of the suspect labels, the most suspicious first, int64 [m].
        accuracy: Share of the labels with which the predictions agree.
        source: How the predictions were made.
    """

    noise: LabelNoise
    interval: tuple[float, float]
    rows: Int64[Tensor, " m"]
    accuracy: float
    source: str

    @property
    def num_images(self) -> int:
        """Number of labels that were checked."""
        return len(self.noise.labels)

    @property
    def suspicion(self) -> Float64[Tensor, " n"]:
        """Probability of the likely class beside that of the label; see `LabelNoise.suspicion`."""
        return self.noise.suspicion

    @property
    def is_weak(self) -> bool:
        """Whether the network is hardly better than chance, so that its suspicion means little."""
        return self.accuracy < min(0.5, MIN_GAIN / self.noise.posterior.shape[1])


def audit_labels(held_out: HeldOut) -> LabelAudit | None:
    """Fit a model of label noise to held-out predictions, and list the labels that are probably wrong.

    Args:
        held_out: Predictions for the split.

    Returns:
        The suspect labels; None if there are too few images or a single class.
    """
    predictions = held_out.predictions
    num_classes = predictions.logits.shape[1]
    if len(predictions) < MIN_IMAGES or len(predictions.labels.unique()) < 2:
        return None
    votes = None
    if held_out.neighbours is not None:
        votes = neighbour_votes(held_out.neighbours, predictions.labels, num_classes)
    noise = fit_label_noise(predictions.logits, predictions.labels, votes)
    suspicion = noise.suspicion
    order = suspicion.argsort(descending=True, stable=True)
    rows = order[suspicion[order] > SUSPECT]
    return LabelAudit(noise, share_interval(noise), rows, predictions.accuracy, held_out.source)


def mean_predictions(parts: list[Predictions]) -> Predictions:
    """Return the predictions of several networks for the same images: mean log-probabilities, features of the first.

    Args:
        parts: Predictions of each network.
    """
    logits = torch.stack([part.logits.log_softmax(dim=1) for part in parts]).mean(dim=0)
    first = parts[0]
    return Predictions(logits, first.features, first.labels, first.ids, first.file_names)
