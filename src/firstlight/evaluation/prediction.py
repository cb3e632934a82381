"""Prediction: what a network says about one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Prediction:
    """The probability of every class for one picture.

    Args:
        probabilities: class name to probability in [0, 1], the most probable first.

    >>> Prediction({"cat": 0.9, "dog": 0.1}).label
    'cat'
    """

    probabilities: dict[str, float]

    @staticmethod
    def of(probabilities: Float[Tensor, " k"], class_names: Sequence[str]) -> Prediction:
        """Pair probabilities with class names, in descending order."""
        order = probabilities.argsort(descending=True, stable=True).tolist()
        return Prediction({class_names[i]: float(probabilities[i]) for i in order})

    @property
    def label(self) -> str:
        """Name of the most probable class."""
        return next(iter(self.probabilities))

    @property
    def probability(self) -> float:
        """Of the most probable class, in [0, 1]."""
        return self.probabilities[self.label]

    def top(self, k: int) -> list[tuple[str, float]]:
        """The k most probable classes with their probabilities."""
        return list(self.probabilities.items())[:k]
