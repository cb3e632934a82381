"""Predictor: the common base of everything that classifies pictures, such as a run folder or exported weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from firstlight.arrays import Images
from firstlight.data.batches import to_unit
from firstlight.data.decoder import FILE_BUDGET, Decoder
from firstlight.data.preprocess import Picture, file_content, to_pixels
from firstlight.errors import DataError
from firstlight.evaluation.novelty import is_novel
from firstlight.evaluation.picture_prediction import Prediction
from firstlight.networks import StagedNetwork

DECODER = Decoder("firstlight.data.decoding:decode_file", FILE_BUDGET)


@dataclass(frozen=True)
class ModelDescription:
    """Description of a model; facts that its folder does not contain are None.

    Args:
        name: Folder of the model, or the name of the bundled model.
        recipe: Name of its recipe.
        data: Name of its data set.
        test_accuracy: Accuracy on the test split with a single view, in [0, 1].
        is_calibrated: Whether the temperature was fitted on validation images.

    >>> str(ModelDescription("logs/demo/version_0", "demo", "drawn", 0.95))
    'logs/demo/version_0 (demo on drawn, test accuracy 95.00%)'
    """

    name: str
    recipe: str | None = None
    data: str | None = None
    test_accuracy: float | None = None
    is_calibrated: bool = False

    def __str__(self) -> str:
        accuracy = None if self.test_accuracy is None else f"test accuracy {self.test_accuracy:.2%}"
        facts = ", ".join(filter(None, (" on ".join(filter(None, (self.recipe, self.data))), accuracy)))
        return f"{self.name} ({facts})" if facts else self.name


class Predictor(ABC):
    """A trained network with its class names, image size and temperature."""

    @property
    @abstractmethod
    def network(self) -> StagedNetwork:
        """The trained network, in eval mode, on the CPU, in float32."""

    @property
    @abstractmethod
    def class_names(self) -> tuple[str, ...]:
        """Name of each class, in the order of the logits."""

    @property
    @abstractmethod
    def size_px(self) -> tuple[int, int]:
        """Height and width of the training images, in pixels."""

    @property
    @abstractmethod
    def temperature(self) -> float:
        """Divisor of the logits before the softmax."""

    @property
    @abstractmethod
    def novelty_threshold(self) -> float | None:
        """Energy above which a picture is unlike the training data; None if it was not measured."""

    @property
    @abstractmethod
    def description(self) -> ModelDescription:
        """Description of the model."""

    def predict(self, picture: Picture) -> Prediction:
        """Classify a picture.

        Args:
            picture: Path, PIL image or array (uint8, or float in [0, 1]; [h w], [h w 3] or [3 h w]).

        Raises:
            DataError: The picture cannot be read.
        """
        return self.predict_many([picture])[0]

    def predict_many(self, pictures: Sequence[Picture], batch_size: int = 256) -> list[Prediction]:
        """Classify several pictures; see `predict`."""
        predictions: list[Prediction] = []
        for answer in self.predict_each(pictures, batch_size):
            if isinstance(answer, DataError):
                raise answer
            predictions.append(answer)
        return predictions

    def predict_each(self, pictures: Sequence[Picture], batch_size: int = 256) -> Iterator[Prediction | DataError]:
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
        threshold = self.novelty_threshold
        novel = [None] * len(logits) if threshold is None else is_novel(logits, threshold).tolist()
        return [Prediction.of(row, self.class_names, flag) for row, flag in zip(probabilities, novel, strict=True)]


def _pixels_or_error(picture: Picture, size_px: tuple[int, int]) -> UInt8[Tensor, "3 h w"] | DataError:
    """Return the pixels of a picture; a file, which may come from a stranger, is decoded in a process of its own."""
    try:
        if isinstance(picture, Path | str):
            return torch.from_numpy(DECODER.decode(file_content(picture), str(picture), size_px).pixels)
        return to_pixels(picture, size_px)
    except DataError as error:
        return error
