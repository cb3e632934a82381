"""The example images and the misclassified test images of the page: sheets of images, and a list of the mistakes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from firstlight.arrays import Images
from firstlight.evaluation.mistakes import MistakeFilter, mistakes_at
from firstlight.evaluation.predictions import with_file_names
from firstlight.export.bundle import Bundle
from firstlight.export.image_sheet import NUM_COLUMNS, write_sheet
from firstlight.files import write_atomic

MAX_PIXELS = 4_000_000  # of a sheet: browsers of phones draw no larger picture
MISTAKES_NAME = "mistakes.json"


def write_examples(bundle: Bundle, folder: Path) -> dict[str, Any]:
    """Write the sheets of the example images; return their names and the classes of the images."""
    examples = bundle.examples
    return {"sheets": write_sheets(folder, "examples", examples.images), "labels": examples.labels.tolist()}


def write_mistakes(bundle: Bundle, folder: Path) -> None:
    """Write the sheets of the misclassified test images, and `mistakes.json`, the most confident first."""
    labelled = bundle.mistakes
    calibrated = replace(labelled.predictions, logits=labelled.predictions.logits / bundle.temperature)
    predictions = with_file_names(calibrated, labelled.images)
    rows = MistakeFilter(count=None).rows(predictions, bundle.class_names)
    items = [
        {
            "name": mistake.name,
            "true": mistake.true,
            "predicted": mistake.predicted,
            "true_probability": round(mistake.true_probability, 4),
            "predicted_probability": round(mistake.predicted_probability, 4),
        }
        for mistake in mistakes_at(predictions, rows)
    ]
    sheets = write_sheets(folder, "mistakes", labelled.images.images[rows])
    content = {"sheets": sheets, "items": items, "num_tested": bundle.measured["test"]["num_images"]}
    write_atomic(folder / MISTAKES_NAME, json.dumps(content) + "\n")


def write_sheets(folder: Path, name: str, images: Images) -> list[dict[str, Any]]:
    """Write images as PNG sheets `NAME-1.png`, `NAME-2.png` and so on.

    Args:
        folder: Folder to write to.
        name: Start of the names.
        images: Raw pixels, uint8 [n 3 h w].

    Returns:
        Name, number of columns and number of images of each sheet.
    """
    _, _, height, width = images.shape
    most = max(1, MAX_PIXELS // (height * width))
    sheets = []
    for number, part in enumerate(torch.split(images, most), start=1):
        file = f"{name}-{number}.png"
        write_sheet(folder / file, part)
        sheets.append({"file": file, "columns": max(1, min(NUM_COLUMNS, len(part))), "count": len(part)})
    return sheets
