"""Write the sheet of misclassified images to TensorBoard and to a file when a test ends."""

from __future__ import annotations

from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.loggers import TensorBoardLogger

from firstlight.files import write_atomic
from firstlight.plots.figure import png_pixels
from firstlight.training.module import Classifier


class MisclassifiedImages(pl.Callback):
    """Adds the sheet of misclassified images to TensorBoard whenever a test ends, and writes it to a file.

    Args:
        path: Path of the file; None writes no file.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the sheet on the first process, if the module has its test images."""
        loggers = [each for each in trainer.loggers if isinstance(each, TensorBoardLogger)]
        is_wanted = bool(loggers) or self.path is not None
        if not is_wanted or not trainer.is_global_zero or not isinstance(pl_module, Classifier):
            return
        if pl_module.test_images is not None:
            png = pl_module.draw_misclassified_images().png()  # drawing takes seconds: once for both
            for logger in loggers:
                logger.experiment.add_image("misclassified", png_pixels(png), trainer.current_epoch, dataformats="HWC")
            if self.path is not None:
                write_atomic(self.path, png)
