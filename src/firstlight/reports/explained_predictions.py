"""A sheet of picture files with their predictions and attribution maps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from firstlight.attribution import DEFAULT_METHOD, explain
from firstlight.data.batches import to_unit
from firstlight.data.preprocess import open_image, to_pixels
from firstlight.evaluation.picture_prediction import Prediction
from firstlight.paths import printable, user_path
from firstlight.plots.figure import Figure
from firstlight.plots.prediction_sheet import PredictedPicture, prediction_sheet
from firstlight.runs.predictor import Predictor

UNLIKE = "unlike the training data"
MAX_PICTURE_PX = 480  # longer side of the original picture on the sheet


def draw_predictions(
    predictor: Predictor,
    paths: Sequence[Path | str],
    predictions: Sequence[Prediction],
    top: int = 3,
    method: str = DEFAULT_METHOD,
    stage: str | None = None,
) -> Figure:
    """Draw each picture, the network's input, the map of the predicted class and the most probable classes.

    Args:
        predictor: Run or other predictor that made the predictions.
        paths: Paths of the picture files.
        predictions: Prediction for each picture.
        top: Number of classes to list.
        method: Attribution method; see `firstlight.attribution.explain`.
        stage: Stage to explain; None for the last.

    Raises:
        UsageError: No method or stage has that name.
    """
    files = [user_path(path) for path in paths]
    pixels = torch.stack([to_pixels(path, predictor.size_px) for path in files])
    classes = torch.tensor([predictor.class_names.index(prediction.label) for prediction in predictions])
    attribution = explain(predictor.network, to_unit(pixels), method=method, stage=stage, target=classes)
    pictures = [
        PredictedPicture(
            name=printable(path.name),
            picture=_thumbnail(path),
            network_input=network_input.numpy(),
            evidence=evidence.numpy(),
            top=prediction.top(top),
            note=UNLIKE if prediction.is_novel else "",
        )
        for path, network_input, evidence, prediction in zip(
            files, pixels, attribution.upsampled(), predictions, strict=True
        )
    ]
    return prediction_sheet(pictures, f"{method}, stage {attribution.stage}", printable(str(predictor.description)))


def _thumbnail(path: Path) -> np.ndarray:
    image = open_image(path)
    image.thumbnail((MAX_PICTURE_PX, MAX_PICTURE_PX))
    return np.asarray(image).transpose(2, 0, 1)
