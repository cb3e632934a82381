"""The accuracy of an ONNX model on test images, beside PyTorch's."""

from __future__ import annotations

from typing import Any

import torch

from firstlight.arrays import Logits
from firstlight.data.images import ImageSet
from firstlight.errors import DataError
from firstlight.evaluation.tta_views import logits_of
from firstlight.export.onnx.session import OnnxModel
from firstlight.runs.predictor import Predictor


def measure_accuracy(onnx_model: OnnxModel, model: Predictor, test: ImageSet) -> dict[str, Any]:
    """Return the accuracy of the ONNX model (`onnx`) and of the PyTorch model (`pytorch`), with a single view.

    Raises:
        DataError: The images have other classes than the model.
    """
    check_classes(model, test)
    predicted = torch.full((len(test),), -1)
    found = onnx_model.run(test.images, predicted)["logits"]
    return {
        "num_images": len(test),
        "onnx": _accuracy(found, test),
        "pytorch": _accuracy(logits_of(model.network, test.pixels), test),
    }


def check_classes(model: Predictor, images: ImageSet) -> None:
    """Raise DataError if the images have other classes than the model."""
    if images.class_names != model.class_names:
        raise DataError(f"{images.name}: its classes are not the model's; give the model's data set with --data_dir")


def _accuracy(logits: Logits, images: ImageSet) -> float:
    return float((logits.argmax(dim=1) == images.labels).double().mean())
