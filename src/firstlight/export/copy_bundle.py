"""Copy a bundle into a folder to share, optionally without images or with a licence."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from firstlight.arrays import Ids, Images, Labels
from firstlight.data.images import ImageSet
from firstlight.evaluation.predictions import Predictions
from firstlight.export.bundle import (
    SHEET_NAMES,
    Bundle,
    LabelledPredictions,
    save_labelled_predictions,
    save_measured,
)
from firstlight.export.card import write_card


def copy_bundle(bundle: Bundle, folder: Path, licence: str | None = None, with_images: bool = True) -> Bundle:
    """Copy a bundle, and write a new card for the copy.

    Args:
        bundle: Bundle to copy.
        folder: Folder to write to; created if it does not exist.
        licence: Identifier of the licence that the user gives the weights, for instance "mit"; None keeps the bundle's.
        with_images: Whether to copy the examples and the misclassified test images.
    """
    shutil.copytree(bundle.path, folder, dirs_exist_ok=True)
    if licence is not None:
        save_measured(folder, bundle.measured | {"license": licence})
    if not with_images:
        for name in SHEET_NAMES:
            save_labelled_predictions(folder, name, _no_images(bundle))
    copied = Bundle(folder)
    write_card(copied)
    return copied


def _no_images(bundle: Bundle) -> LabelledPredictions:
    none: Labels | Ids = torch.empty(0, dtype=torch.int64)
    pixels: Images = torch.empty(0, 3, *bundle.size_px, dtype=torch.uint8)
    logits = torch.empty(0, len(bundle.class_names))
    predictions = Predictions(logits, torch.empty(0, 0), none, none)
    return LabelledPredictions(ImageSet(pixels, none, bundle.class_names, ids=none), predictions)
