"""Predictor: whatever can say what is on a picture, whether a run folder or a folder of shared weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import UInt8
from torch import Tensor

from firstlight.arrays import Images
from firstlight.data.batches import to_unit
from firstlight.data.preprocess import Picture, to_pixels
from firstlight.errors import DataError
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
        for answer in self.predict_readable(pictures, batch_size):
            if isinstance(answer, DataError):
                raise answer
            predictions.append(answer)
        return predictions

    def predict_readable(self, pictures: Sequence[Picture], batch_size: int = 256) -> Iterator[Prediction | DataError]:
        """Yield the prediction of each picture, or the error of a picture that cannot be read."""
        for start in range(0, len(pictures), batch_size):
            pixels = [_pixels_or_error(each, self.size_px) for each in pictures[start : start + batch_size]]
            readable = [each for each in pixels if isinstance(each, Tensor)]
            predictions = iter(self._predict(torch.stack(readable)) if readable else [])
            for each in pixels:
                yield next(predictions) if isinstance(each, Tensor) else each

    def _predict(self, pixels: Images) -> list[Prediction]:
        with torch.inference_mode():
            logits = self.network(to_unit(pixels))
        probabilities = (logits / self.temperature).softmax(dim=1)
        return [Prediction.of(each, self.class_names) for each in probabilities]


def _pixels_or_error(picture: Picture, size_px: tuple[int, int]) -> UInt8[Tensor, "3 h w"] | DataError:
    try:
        return to_pixels(picture, size_px)
    except DataError as error:
        return error
