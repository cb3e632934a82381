"""Predictor: whatever can say what is on a picture, whether a run folder or a folder of shared weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch

from firstlight.data.batches import to_unit
from firstlight.data.preprocess import Picture, to_pixels
from firstlight.evaluation.prediction import Prediction
from firstlight.networks import StagedNetwork


class Predictor(ABC):
    """A trained network with all that is needed to use it."""

    @property
    @abstractmethod
    def network(self) -> StagedNetwork:
        """The trained network, in eval mode, on the CPU, in float32."""

    @property
    @abstractmethod
    def class_names(self) -> tuple[str, ...]:
        """The name of each class number."""

    @property
    @abstractmethod
    def size_px(self) -> tuple[int, int]:
        """Height and width of the images that the network was trained on."""

    @property
    @abstractmethod
    def temperature(self) -> float:
        """By which the logits are divided before the softmax."""

    def predict(self, picture: Picture) -> Prediction:
        """Say what is on a picture.

        Args:
            picture: a path, a PIL image, or an array (uint8 or float in [0, 1]; [h w], [h w 3] or [3 h w]).

        Raises:
            DataError: the picture cannot be read.
        """
        return self.predict_many([picture])[0]

    def predict_many(self, pictures: Sequence[Picture], batch_size: int = 256) -> list[Prediction]:
        """Say what is on each of several pictures; see `predict`."""
        predictions: list[Prediction] = []
        for start in range(0, len(pictures), batch_size):
            pixels = [to_pixels(each, self.size_px) for each in pictures[start : start + batch_size]]
            with torch.inference_mode():
                logits = self.network(to_unit(torch.stack(pixels)))
            probabilities = (logits / self.temperature).softmax(dim=1)
            predictions += [Prediction.of(each, self.class_names) for each in probabilities]
        return predictions
