"""Calibrate a trained network on the validation images of its training."""

from __future__ import annotations

from torch import nn

from firstlight.evaluation.calibration import Calibration, calibrate
from firstlight.evaluation.tta_views import logits_of
from firstlight.modes import in_evaluation
from firstlight.training.data_module import ImageData


def calibrate_network(network: nn.Module, data: ImageData) -> Calibration | None:
    """Return the calibration of a network; None without validation images, or if a logit is not finite.

    Args:
        network: Network that returns logits, on any device.
        data: Data of the training.
    """
    val = getattr(data, "val", None)
    if val is None or not len(val):
        return None
    with in_evaluation(network):
        logits = logits_of(network, val.pixels)
    return calibrate(logits, val.labels) if bool(logits.isfinite().all()) else None
