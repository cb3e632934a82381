"""From a run and picture files to the sheet that shows what it says of them, and why."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from firstlight.attribution import explain
from firstlight.data.batches import to_unit
from firstlight.data.preprocess import open_image, to_pixels, to_rgb
from firstlight.evaluation.prediction import Prediction
from firstlight.plots.figure import Figure
from firstlight.plots.prediction_sheet import PredictedPicture, prediction_sheet
from firstlight.runs.predictor import Predictor

SHOWN_PX = 480  # longer side of the picture on the sheet


def draw_predictions(
    run: Predictor, paths: Sequence[Path], predictions: Sequence[Prediction], top: int, method: str, stage: str | None
) -> Figure:
    """Draw each picture, what the model sees of it, and the evidence for its predicted class.

    Args:
        run: or another predictor, that made the predictions.
        paths: the picture files.
        predictions: one for each.
        top: how many classes to list.
        method: of the maps; see `firstlight.attribution.explain`.
        stage: of the maps; by default the last.
    """
    pixels = torch.stack([to_pixels(path, run.size_px) for path in paths])
    classes = torch.tensor([run.class_names.index(each.label) for each in predictions])
    found = explain(run.network, to_unit(pixels), method=method, stage=stage, target=classes)
    pictures = [
        PredictedPicture(path.name, _shown(path), seen.numpy(), evidence.numpy(), prediction.top(top))
        for path, seen, evidence, prediction in zip(paths, pixels, found.upsampled(), predictions, strict=True)
    ]
    return prediction_sheet(pictures, f"{method}, stage {found.stage}")


def _shown(path: Path) -> np.ndarray:
    image = to_rgb(open_image(path))
    image.thumbnail((SHOWN_PX, SHOWN_PX))
    return np.asarray(image).transpose(2, 0, 1)
