"""From a network, its predictions and its images to the sheet of what it got wrong, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor

from firstlight.attribution import DEFAULT_METHOD, Attribution, explain
from firstlight.data.batches import to_unit
from firstlight.data.images import ImageSet
from firstlight.errors import UsageError
from firstlight.evaluation.predictions import Predictions
from firstlight.networks import StagedNetwork
from firstlight.plots.figure import Figure
from firstlight.plots.mistake_sheet import Mistake, mistake_sheet

DEFAULT_COUNT = 12


@dataclass(frozen=True)
class MistakeFilter:
    """Which misclassified images to show.

    Args:
        count: how many, at most.
        true: only images of this class.
        predicted: only images taken for this class.
        indices: exactly these test images, in this order; right ones, too.
    """

    count: int = DEFAULT_COUNT
    true: str | None = None
    predicted: str | None = None
    indices: tuple[int, ...] = ()

    def rows(self, predictions: Predictions, class_names: Sequence[str]) -> Int64[Tensor, " m"]:
        """Return the chosen rows of the predictions, the most confident mistake first.

        Raises:
            UsageError: no class has that name, no test image has that index, or the count is below 1.
        """
        if self.count < 1:
            raise UsageError(f"count must be 1 or more, not {self.count}")
        if self.indices:
            return torch.tensor([_row_of(index, predictions) for index in self.indices])
        rows = predictions.misclassified()
        for name, column in ((self.true, predictions.labels), (self.predicted, predictions.predicted)):
            if name is not None:
                rows = rows[column[rows] == _number_of(name, class_names)]
        return rows[: self.count]


def misclassified_images(
    network: StagedNetwork,
    images: ImageSet,
    predictions: Predictions,
    which: MistakeFilter = MistakeFilter(),
    method: str = DEFAULT_METHOD,
    stage: str | None = None,
) -> Figure:
    """Draw misclassified images beside the maps for their predicted and for their true class.

    Args:
        network: that made the predictions.
        images: the test set, in the order of the predictions.
        predictions: of these images.
        which: how many, of which classes.
        method: of the maps; see `firstlight.attribution.explain`.
        stage: of the maps; by default the last.

    Raises:
        UsageError: there is no mistake between the classes asked for, or something asked for does not exist.
    """
    rows = which.rows(predictions, images.class_names)
    if not len(rows) and (which.true or which.predicted):
        asked = [f"is {which.true}"] * bool(which.true) + [f"is taken for {which.predicted}"] * bool(which.predicted)
        raise UsageError(f"nothing to show: no misclassified test image {' and '.join(asked)}")
    chosen = images[rows]
    pixels = to_unit(chosen.images)
    said, meant = (
        explain(network, pixels, method=method, stage=stage, target=classes)
        for classes in (predictions.predicted[rows], chosen.labels)
    )
    mistakes = _mistakes(chosen, predictions, rows, said, meant)
    return mistake_sheet(mistakes, _title(images, predictions, which), f"{method}, stage {said.stage}")


def _mistakes(
    chosen: ImageSet, predictions: Predictions, rows: Int64[Tensor, " m"], said: Attribution, meant: Attribution
) -> list[Mistake]:
    probabilities, names = predictions.probabilities()[rows], chosen.class_names
    maps = {"predicted": said.upsampled().numpy(), "true": meant.upsampled().numpy()}
    return [
        Mistake(
            image=chosen.images[i].numpy(),
            index=int(chosen.ids[i]),
            predicted=names[wrong],
            predicted_probability=float(probabilities[i, wrong]),
            predicted_map=maps["predicted"][i],
            true=names[right],
            true_probability=float(probabilities[i, right]),
            true_map=maps["true"][i],
        )
        for i, (wrong, right) in enumerate(zip(said.classes.tolist(), meant.classes.tolist(), strict=True))
    ]


def _title(images: ImageSet, predictions: Predictions, which: MistakeFilter) -> str:
    if which.indices:
        return f"{images.name}: chosen images"
    num_wrong = len(predictions.misclassified())
    title = f"{images.name}: {num_wrong:,} of {len(predictions):,} misclassified, most confident first"
    classes = [f"is {which.true}"] * bool(which.true) + [f"says {which.predicted}"] * bool(which.predicted)
    return title + (f" ({', '.join(classes)})" if classes else "")


def _number_of(name: str, class_names: Sequence[str]) -> int:
    if name not in class_names:
        raise UsageError(f"no class is called {name!r}: choose one of {', '.join(class_names)}")
    return list(class_names).index(name)


def _row_of(index: int, predictions: Predictions) -> int:
    found = (predictions.ids == index).nonzero().flatten()
    if not len(found):
        first, last = int(predictions.ids.min()), int(predictions.ids.max())
        raise UsageError(f"there is no test image {index}: they go from {first} to {last}")
    return int(found[0])
