"""Bundle: a trained model with measurements, example images and misclassified images, as the app needs them."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from firstlight.data.images import ImageSet
from firstlight.errors import RunError
from firstlight.evaluation.predictions import Predictions, check_arrays
from firstlight.export.data_facts import DataFacts, data_facts
from firstlight.export.image_sheet import read_sheet, write_sheet
from firstlight.export.measured import MEASURED_NAME as MEASURED_NAME
from firstlight.export.measured import read_measured
from firstlight.files import atomic, regular_file, write_atomic
from firstlight.runs.predictor import ModelDescription
from firstlight.runs.pretrained import BUNDLED_NAME as BUNDLED_NAME
from firstlight.runs.pretrained import BUNDLED_PATH as BUNDLED_PATH
from firstlight.runs.pretrained import Pretrained
from firstlight.typed_json import FieldError

SHEET_NAMES = ("examples", "mistakes")  # the parts of a bundle that contain test images
VIEWS = {  # descriptions of the views in `firstlight.evaluation.tta_views`
    "flip": "two: the image and its mirror image, logits averaged",
    "flip_shift": "six: the image, moved by a pixel both ways, and the mirror images of all, logits averaged",
    "flip_star": "up to 34: moved by up to two pixels in eight directions, and their mirror images, logits averaged",
}


@dataclass(frozen=True, eq=False)
class LabelledPredictions:
    """Labelled images and the predictions of a network for them.

    Args:
        images: Images with their true labels.
        predictions: Predictions for the same images in the same order.
    """

    images: ImageSet
    predictions: Predictions


class Bundle(Pretrained):
    """A folder with weights, `config.json`, `README.md`, `measured.json`, and two sheets of test images.

    Args:
        path: Path of the folder.

    Raises:
        RunError: The folder contains no bundle.
    """

    def __init__(self, path: Path | str) -> None:
        super().__init__(path)
        if not (self.path / MEASURED_NAME).is_file():
            raise RunError(f"{path} is not a bundle: it has no {MEASURED_NAME}. Make one with `firstlight export`.")

    @cached_property
    def measured(self) -> dict[str, Any]:
        """Content of `measured.json`: accuracy, calibration, novelty, confusion matrix, and how they were measured."""
        return read_measured(self.path / MEASURED_NAME, len(self.class_names))

    @property
    def data(self) -> DataFacts:
        """Facts about the data set that the model was trained on."""
        name = str(self.measured["data"])
        return data_facts(str(self.config.recipe.get("data", name)), name)

    @property
    def has_images(self) -> bool:
        """Whether the bundle contains test images; `firstlight export --without_images` leaves them out."""
        return len(self.examples) > 0

    @property
    def description(self) -> ModelDescription:
        """The bundle's folder, recipe, data set and measured test accuracy."""
        name = BUNDLED_NAME if self.path == BUNDLED_PATH else str(self.path)
        accuracy = self.measured["test"]["single_view"]
        return replace(super().description, name=name, data=str(self.measured["data"]), test_accuracy=accuracy)

    @property
    def title(self) -> str:
        """Name of the network, the data set and the recipe, and the number of epochs."""
        recipe, epochs = (self.config.recipe.get(name, "unknown") for name in ("name", "max_epochs"))
        return f"{type(self.network).__name__} on {self.data.name}, recipe {recipe}, epochs {epochs}"

    @cached_property
    def examples(self) -> ImageSet:
        """One test image for each of the first ten classes."""
        return self._read("examples").images

    @cached_property
    def mistakes(self) -> LabelledPredictions:
        """Misclassified test images in the order of the test split."""
        return self._read("mistakes")

    def _read(self, name: str) -> LabelledPredictions:
        path = self.path / f"{name}.safetensors"
        try:
            with safe_open(regular_file(path), framework="pt") as content:
                labels, ids, logits = (content.get_tensor(key) for key in ("labels", "ids", "logits"))
                names = _file_names((content.metadata() or {}).get("file_names"))
            features = torch.empty(len(labels), 0)
            check_arrays({"logits": logits, "features": features, "labels": labels, "ids": ids})
            if logits.shape[1] != len(self.class_names):
                raise FieldError(f"logits must have {len(self.class_names)} columns, one for each class")
            pixels = read_sheet(self.path / f"{name}.png", len(labels), self.size_px)
            images = ImageSet(pixels, labels, self.class_names, ids=ids, name=name, file_names=names)
            return LabelledPredictions(images, Predictions(logits, features, labels, ids))
        except FieldError as error:
            raise RunError(f"{path}: {error}. Export the model again.") from error
        except (OSError, SafetensorError, KeyError, ValueError, TypeError, RecursionError) as error:
            raise RunError(f"{path}: cannot be read. Export the model again.") from error


def save_labelled_predictions(folder: Path, name: str, labelled: LabelledPredictions) -> None:
    """Write `<name>.png` and `<name>.safetensors` into the folder of a bundle."""
    images, predictions = labelled.images, labelled.predictions
    write_sheet(folder / f"{name}.png", images.images)
    tensors = {"labels": images.labels, "ids": images.ids, "logits": predictions.logits}
    metadata = None if images.file_names is None else {"file_names": json.dumps(images.file_names)}
    with atomic(folder / f"{name}.safetensors") as temporary:
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, temporary, metadata)


def _file_names(stored: str | None) -> tuple[str, ...] | None:
    return None if stored is None else tuple(str(name) for name in json.loads(stored))


def save_measured(folder: Path, measured: dict[str, Any]) -> None:
    """Write `measured.json`."""
    write_atomic(folder / MEASURED_NAME, json.dumps(measured, indent=2) + "\n")


def bundled() -> Bundle:
    """Open the model that comes with the package.

    Raises:
        RunError: This copy of the package contains no model.
    """
    if not (BUNDLED_PATH / MEASURED_NAME).is_file():
        raise RunError(
            "this copy of firstlight contains no trained model: name a run, which `firstlight fit` creates, or put a "
            "model into the package with `firstlight export RUN --to bundle`"
        )
    return Bundle(BUNDLED_PATH)
