"""Log one line at the start of a training: network, data set, precision, devices and run folder."""

from __future__ import annotations

import logging
from pathlib import Path

import pytorch_lightning as pl

from firstlight.compiled import uncompiled
from firstlight.openmp import came_too_late
from firstlight.training.data_module import ImageData
from firstlight.training.module import Classifier


def announce(trainer: pl.Trainer, module: Classifier, data: ImageData, folder: Path) -> None:
    """Log the network, the number of images, the precision, the devices and the run folder."""
    log = logging.getLogger("firstlight")
    num_parameters = sum(parameter.numel() for parameter in module.network.parameters())
    device = f"{trainer.world_size} x {trainer.strategy.root_device.type}"
    log.info(
        f"{type(uncompiled(module.network)).__name__} with {num_parameters:,} parameters on {data.train.name}: "
        f"{len(data.train):,} images to train, {len(data.val):,} to validate; "
        f"{trainer.precision} on {device}; run folder {folder}"
    )
    if trainer.strategy.root_device.type == "cpu" and came_too_late():
        log.info(
            "torch was imported before firstlight, so a training beside other programs is slower than it need be: "
            "import firstlight first, or set GOMP_SPINCOUNT=1000"
        )
    if module.steps == "compiled" and trainer.strategy.root_device.type != "cuda":
        log.warning("warning: steps are compiled on a GPU only; on this device they run uncompiled")
