"""`measured.json` of a bundle: the fields that its readers use, with their types and ranges."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict

from firstlight.errors import RunError
from firstlight.runs.run_files import HardwareFields
from firstlight.typed_json import Amount, Between, Count, PathText, Share, read_json

MEASURED_NAME = "measured.json"
ADVICE = "export the model again"


class TestFields(TypedDict):
    """Accuracies on the test images."""

    num_images: Annotated[int, Between(1, 10**12)]
    single_view: Share
    views: Literal["flip", "flip_shift", "flip_star"]
    averaged: Share
    num_wrong: Count


class OtherRecipeFields(TypedDict):
    """The recipe of the run whose validation images calibrated the model."""

    name: str
    max_epochs: Count


class CalibrationNumbers(TypedDict):
    """The calibration and its errors."""

    temperature: Annotated[float, Between(1e-6, 1e6)]
    num_validation_images: Count
    other_recipe: NotRequired[OtherRecipeFields | None]
    error_before: Share
    error_after: Share


class NoveltyFields(TypedDict):
    """Shares of images that are marked as unlike the training data."""

    threshold: float
    false_alarms: Share
    detected: dict[str, Share]
    num_images: dict[str, Count]


class TrainingFields(TypedDict):
    """How and when the model was trained."""

    date: NotRequired[str | None]
    commit: NotRequired[str | None]
    hardware: NotRequired[HardwareFields | None]
    versions: NotRequired[dict[str, str | None] | None]
    val_acc: NotRequired[Share]
    test_acc: NotRequired[Share]
    train_s: NotRequired[Amount]


class MeasuredFields(TypedDict):
    """`measured.json`."""

    data: PathText
    test: TestFields
    calibration: CalibrationNumbers
    novelty: NoveltyFields
    confusion: list[list[Count]]
    training: TrainingFields
    weights_sha256: NotRequired[str]
    run_weights_sha256: NotRequired[str]
    license: NotRequired[str]


def read_measured(path: Path, num_classes: int) -> dict[str, Any]:
    """Read `measured.json`.

    Args:
        path: Path of the file.
        num_classes: Number of classes of the model, for which the confusion matrix must have rows and columns.

    Raises:
        RunError: The file cannot be read, or a field is missing or has another type or range.
    """
    found = read_json(path, MeasuredFields, ADVICE)
    if any(len(row) != num_classes for row in (found["confusion"], *found["confusion"])):
        raise RunError(f"{path}: confusion must have {num_classes} rows and columns, one for each class; {ADVICE}")
    novelty = found["novelty"]
    if novelty["detected"].keys() != novelty["num_images"].keys():
        raise RunError(f"{path}: novelty.num_images must have the kinds of novelty.detected; {ADVICE}")
    return found
