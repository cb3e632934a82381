"""Prediction: the class probabilities of one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Prediction:
    """Class probabilities of one picture.

    Args:
        probabilities: Probability of each class name, in [0, 1], in descending order.
        is_novel: Whether the picture is unlike the training data; None if the model has no threshold for it.

    >>> Prediction({"cat": 0.9, "dog": 0.1}).label
    'cat'
    """

    probabilities: dict[str, float]
    is_novel: bool | None = None

    @staticmethod
    def of(probabilities: Float[Tensor, " k"], class_names: Sequence[str], is_novel: bool | None = None) -> Prediction:
        """Return the prediction for a vector of probabilities in the order of the class names."""
        order = probabilities.argsort(descending=True, stable=True).tolist()
        return Prediction({class_names[i]: float(probabilities[i]) for i in order}, is_novel)

    @property
    def label(self) -> str:
        """Name of the most probable class."""
        return next(iter(self.probabilities))

    @property
    def probability(self) -> float:
        """Probability of the most probable class, in [0, 1]."""
        return self.probabilities[self.label]

    def top(self, k: int) -> list[tuple[str, float]]:
        """Return the k most probable classes with their probabilities."""
        return list(self.probabilities.items())[:k]
