"""Calibrate a trained network on the validation images of its training."""

from __future__ import annotations

import torch
from torch import nn

from firstlight.data.batches import to_unit
from firstlight.evaluation.calibration import Calibration, calibrate
from firstlight.modes import in_evaluation
from firstlight.training.data_module import ImageData

BATCH_SIZE = 64  # larger batches are no faster on a CPU, because their activations exceed the cache


def calibrate_network(network: nn.Module, data: ImageData) -> Calibration | None:
    """Return the calibration of a network; None if no validation images are loaded, or none were kept.

    Args:
        network: Network that returns logits, on any device.
        data: Data of the training.
    """
    val = getattr(data, "val", None)
    if val is None or not len(val):
        return None
    device = next(network.parameters()).device
    with torch.no_grad(), in_evaluation(network):
        parts = [network(to_unit(pixels.to(device))).float().cpu() for pixels in val.images.split(BATCH_SIZE)]
    logits = torch.cat(parts)
    return calibrate(logits, val.labels) if bool(logits.isfinite().all()) else None
