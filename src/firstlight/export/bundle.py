"""Bundle: a shared model with its examples, its mistakes and what was measured, all that the app needs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from firstlight.data.images import ImageSet
from firstlight.errors import RunError
from firstlight.evaluation.predictions import Predictions
from firstlight.export.image_sheet import read_sheet, write_sheet
from firstlight.export.pretrained import Pretrained
from firstlight.files import atomic, write_atomic

MEASURED_NAME = "measured.json"
SHOWN_NAMES = {"cifar10": "CIFAR-10", "drawn": "firstlight's drawn shapes", "watermark": "firstlight's watermark trap"}
VIEWS = {  # what `firstlight.evaluation.tta_views` does, in words
    "flip": "two: the image and its mirror image, logits averaged",
    "flip_shift": "six: the image, moved by a pixel both ways, and the mirror images of all, logits averaged",
    "flip_star": "up to 34: moved by up to two pixels in eight directions, and their mirror images, logits averaged",
}
BUNDLED_PATH = Path(__file__).parent.parent / "bundled"  # the model that the package brings


@dataclass(frozen=True, eq=False)
class LabelledPredictions:
    """Labelled images with the network's predictions for them."""

    images: ImageSet
    predictions: Predictions


class Bundle(Pretrained):
    """A folder with weights, `config.json`, `README.md`, `measured.json`, and two sheets of test images.

    Args:
        path: of the folder.

    Raises:
        RunError: there is no bundle in the folder.
    """

    def __init__(self, path: Path | str) -> None:
        super().__init__(path)
        if not (self.path / MEASURED_NAME).is_file():
            raise RunError(f"{path} is no bundle: it has no {MEASURED_NAME}. Make one with `firstlight export`.")

    @cached_property
    def measured(self) -> dict[str, Any]:
        """Accuracy, calibration, novelty, the confusion matrix, and where all of it comes from."""
        path = self.path / MEASURED_NAME
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(found, dict):
                raise TypeError("it is no dictionary")
            return found
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise RunError(f"{path}: cannot be read. Export the model again.") from error

    @property
    def data_name(self) -> str:
        """What a reader calls the data set."""
        name = str(self.measured["data"])
        return SHOWN_NAMES.get(name, name)

    @property
    def title(self) -> str:
        """Network, data, recipe and length."""
        recipe, epochs = (self.config.recipe.get(name, "unknown") for name in ("name", "max_epochs"))
        return f"{type(self.network).__name__} on {self.data_name}, recipe {recipe}, epochs {epochs}"

    @cached_property
    def examples(self) -> ImageSet:
        """A test image of each class, the ten first classes at most."""
        return self._read("examples").images

    @cached_property
    def mistakes(self) -> LabelledPredictions:
        """The misclassified test images, in the order of the test split."""
        return self._read("mistakes")

    def _read(self, name: str) -> LabelledPredictions:
        path = self.path / f"{name}.safetensors"
        try:
            tensors = load_file(path)
            labels, ids, logits = tensors["labels"], tensors["ids"], tensors["logits"]
            pixels = read_sheet(self.path / f"{name}.png", len(labels), self.size_px)
            images = ImageSet(pixels, labels, self.class_names, ids=ids, name=name)
            return LabelledPredictions(images, Predictions(logits, torch.empty(len(labels), 0), labels, ids))
        except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
            raise RunError(f"{path}: cannot be read. Export the model again.") from error


def save_labelled_predictions(folder: Path, name: str, labelled: LabelledPredictions) -> None:
    """Write `<name>.png` and `<name>.safetensors` into a bundle's folder."""
    images, predictions = labelled.images, labelled.predictions
    write_sheet(folder / f"{name}.png", images.images)
    tensors = {"labels": images.labels, "ids": images.ids, "logits": predictions.logits}
    with atomic(folder / f"{name}.safetensors") as temporary:
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, temporary)


def save_measured(folder: Path, measured: dict[str, Any]) -> None:
    """Write `measured.json`."""
    write_atomic(folder / MEASURED_NAME, json.dumps(measured, indent=2) + "\n")


def bundled() -> Bundle:
    """Open the model that the package brings.

    Raises:
        RunError: this copy of the package brings none.
    """
    if not (BUNDLED_PATH / MEASURED_NAME).is_file():
        raise RunError(
            "this copy of firstlight brings no trained model: name a run (`firstlight fit` makes one), or build the "
            "model in with `firstlight export RUN --to bundle`"
        )
    return Bundle(BUNDLED_PATH)
