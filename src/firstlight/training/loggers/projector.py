"""The features of the test images in TensorBoard's projector."""

from __future__ import annotations

import contextlib
import io
from typing import Any

from torch.nn import functional as F

from firstlight.arrays import UnitImages
from firstlight.data.batches import to_unit
from firstlight.data.images import ImageSet
from firstlight.evaluation.predictions import Predictions
from firstlight.evaluation.principal_components import principal_components
from firstlight.reports.feature_map import choose_rows

MAX_POINTS = 2000
NUM_COMPONENTS = 50  # of the features: more would make a text file of tens of megabytes
MAX_SIDE_PX = 32  # of a point's image
COLUMNS = ("true", "predicted", "verdict", "index")


def add_features(experiment: Any, images: ImageSet, predictions: Predictions, step: int) -> None:
    """Write the features of test images, with their classes and pictures, for TensorBoard's projector.

    At most 2,000 images are written, the most confident mistakes first, as the first 50 principal components of their
    features. The embedding replaces that of an earlier test in the same folder.

    Args:
        experiment: SummaryWriter of TensorBoard.
        images: Test images, in the order of the predictions.
        predictions: Predictions with features.
        step: Global step of the test.
    """
    is_usable = predictions.features.shape[1] and bool(predictions.features.isfinite().all())
    if not is_usable or not predictions.ids.equal(images.ids):
        return
    rows = choose_rows(predictions, MAX_POINTS)
    features = principal_components(predictions.features, min(NUM_COMPONENTS, predictions.features.shape[1]))
    names = [" ".join(name.split()) for name in images.class_names]  # a tab or a line break would shift the columns
    metadata = [
        (names[true], names[predicted], "right" if true == predicted else "wrong", index)
        for true, predicted, index in zip(
            predictions.labels[rows].tolist(),
            predictions.predicted[rows].tolist(),
            predictions.ids[rows].tolist(),
            strict=True,
        )
    ]
    experiment.__dict__.pop("_projector_config", None)  # PyTorch's list of earlier embeddings
    with contextlib.redirect_stdout(io.StringIO()):  # PyTorch prints a warning where it replaces an embedding
        experiment.add_embedding(
            features.coordinates[rows].float(),
            metadata=metadata,
            label_img=_thumbnails(images[rows]),
            global_step=step,
            tag="features",
            metadata_header=list(COLUMNS),
        )


def _thumbnails(images: ImageSet) -> UnitImages:
    pixels = to_unit(images.images)
    scale = MAX_SIDE_PX / max(images.size_px)
    return pixels if scale >= 1 else F.interpolate(pixels, scale_factor=scale, mode="area")
