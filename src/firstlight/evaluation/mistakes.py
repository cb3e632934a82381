"""Mistakes: the labels and probabilities of misclassified images, and the filter that chooses among them.

The sheet, the app, the export and `firstlight explain` all use these two classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from firstlight.errors import UsageError
from firstlight.evaluation.predictions import Predictions

DEFAULT_COUNT = 12

MistakeOrder = Literal["confidence", "margin", "loss", "index"]
"""The sort orders: the largest probability, margin or loss first, or the smallest index first."""


@dataclass(frozen=True)
class Mistake:
    """A misclassified image, without its pixels.

    An image that was chosen by its index may be classified correctly; its margin is then 0.

    Args:
        row: Row of the image in its `Predictions`.
        index: Id of the image in its split.
        true: True class.
        predicted: Predicted class.
        probabilities: Probability of each class, in [0, 1].
        loss: Cross-entropy of the true class, in nats.
        file_name: Path of the image's file below the folder of the data set; None if it has none.

    >>> mistake = Mistake(row=0, index=7, true=1, predicted=0, probabilities=(0.75, 0.25), loss=1.386)
    >>> mistake.predicted_probability, mistake.true_probability, mistake.margin
    (0.75, 0.25, 0.5)
    """

    row: int
    index: int
    true: int
    predicted: int
    probabilities: tuple[float, ...]
    loss: float
    file_name: str | None = None

    @property
    def predicted_probability(self) -> float:
        """Probability of the predicted class, in [0, 1]."""
        return self.probabilities[self.predicted]

    @property
    def true_probability(self) -> float:
        """Probability of the true class, in [0, 1]."""
        return self.probabilities[self.true]

    @property
    def name(self) -> str:
        """Name of the image in captions: its file's name, or its index in the test split."""
        return f"test {self.index}" if self.file_name is None else self.file_name

    @property
    def margin(self) -> float:
        """Probability of the predicted class minus that of the true class, in [0, 1]."""
        return self.predicted_probability - self.true_probability


@dataclass(frozen=True)
class MistakeFilter:
    """Chooses and sorts misclassified images.

    Args:
        count: Largest number of images; None for all.
        true: Name of the true class; None for any.
        predicted: Name of the predicted class; None for any.
        indices: Ids of the images to choose, in this order; these may be classified correctly. If given, the classes,
            the count and the sort order are ignored.
        order: Sort order. Ties keep the order of the predictions.

    Raises:
        UsageError: The count is not an integer of 1 or more, or an index is not an integer.

    >>> logits, labels = torch.tensor([[2.0, 0.0], [0.0, 3.0], [0.0, 1.0]]), torch.tensor([0, 0, 0])
    >>> predictions = Predictions(logits, torch.zeros(3, 1), labels, torch.arange(3))
    >>> [mistake.index for mistake in MistakeFilter(count=None).select(predictions, ["cat", "dog"])]
    [1, 2]
    """

    count: int | None = DEFAULT_COUNT
    true: str | None = None
    predicted: str | None = None
    indices: tuple[int, ...] = ()
    order: MistakeOrder = "confidence"

    def __post_init__(self) -> None:
        if self.count is not None and not (_is_integer(self.count) and self.count >= 1):
            raise UsageError(f"count must be an integer of 1 or more, not {self.count!r}")
        for index in self.indices:
            if not _is_integer(index):
                raise UsageError(f"an index must be an integer, not {index!r}")

    def select(self, predictions: Predictions, class_names: Sequence[str]) -> list[Mistake]:
        """Return the chosen mistakes.

        Raises:
            UsageError: No class has that name, no image has that index, or the order is unknown.
        """
        return mistakes_at(predictions, self.rows(predictions, class_names))

    def rows(self, predictions: Predictions, class_names: Sequence[str]) -> Int64[Tensor, " m"]:
        """Return the rows of the chosen mistakes in the predictions.

        Raises:
            UsageError: No class has that name, no image has that index, or the order is unknown.
        """
        if self.order not in get_args(MistakeOrder):
            raise UsageError(f"no order is called {self.order!r}: choose one of {', '.join(get_args(MistakeOrder))}")
        if self.indices:
            return torch.tensor([_row_of(index, predictions) for index in self.indices])
        rows = predictions.misclassified()
        for name, column in ((self.true, predictions.labels), (self.predicted, predictions.predicted)):
            if name is not None:
                rows = rows[column[rows] == label_of(name, class_names)]
        return _sorted(rows, predictions, self.order)[: self.count]


def _is_integer(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def mistakes_at(predictions: Predictions, rows: Int64[Tensor, " m"]) -> list[Mistake]:
    """Return the mistakes in these rows of the predictions, in the order of the rows."""
    predicted, losses = predictions.predicted[rows], _losses(predictions, rows)
    file_names = predictions.file_names
    return [
        Mistake(row, index, true, wrong, tuple(probabilities), loss, file_names[row] if file_names else None)
        for row, index, true, wrong, probabilities, loss in zip(
            rows.tolist(),
            predictions.ids[rows].tolist(),
            predictions.labels[rows].tolist(),
            predicted.tolist(),
            predictions.probabilities()[rows].tolist(),
            losses.tolist(),
            strict=True,
        )
    ]


def label_of(name: str, class_names: Sequence[str]) -> int:
    """Return the label of a class.

    Raises:
        UsageError: No class has that name.
    """
    if name not in class_names:
        raise UsageError(f"no class is called {name!r}: choose one of {', '.join(class_names)}")
    return list(class_names).index(name)


def _sorted(rows: Int64[Tensor, " m"], predictions: Predictions, order: MistakeOrder) -> Int64[Tensor, " m"]:
    if order == "confidence":
        return rows  # the order of `Predictions.misclassified`
    rows = rows.sort().values
    if order == "index":
        return rows[predictions.ids[rows].argsort(stable=True)]
    scores = _losses(predictions, rows) if order == "loss" else _margins(predictions, rows)
    return rows[scores.argsort(descending=True, stable=True)]


def _losses(predictions: Predictions, rows: Int64[Tensor, " m"]) -> Float[Tensor, " m"]:
    return F.cross_entropy(predictions.logits[rows].double(), predictions.labels[rows], reduction="none")


def _margins(predictions: Predictions, rows: Int64[Tensor, " m"]) -> Float[Tensor, " m"]:
    probabilities = predictions.probabilities()[rows]
    true_probabilities = probabilities.gather(1, predictions.labels[rows, None])[:, 0]
    return probabilities.amax(dim=1) - true_probabilities


def _row_of(index: int, predictions: Predictions) -> int:
    found = (predictions.ids == index).nonzero().flatten()
    if not len(found):
        first, last = int(predictions.ids.min()), int(predictions.ids.max())
        raise UsageError(f"there is no test image {index}: the indices range from {first} to {last}")
    return int(found[0])
