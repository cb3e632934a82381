"""The sheet of misclassified images, in TensorBoard and as a file, at the end of a test."""

from __future__ import annotations

from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.loggers import TensorBoardLogger

from firstlight.plots.figure import save_figure
from firstlight.training.module import Classifier


class MisclassifiedImages(pl.Callback):
    """Adds `Classifier.show_misclassified_images()` to TensorBoard whenever a test ends, and writes it to a file.

    Args:
        path: of the file, if there is to be one.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw and log, on one process, if the module knows its test images."""
        loggers = [each for each in trainer.loggers if isinstance(each, TensorBoardLogger)]
        is_wanted = bool(loggers) or self.path is not None
        if not is_wanted or not trainer.is_global_zero or not isinstance(pl_module, Classifier):
            return
        if pl_module.test_images is not None:
            figure = pl_module.show_misclassified_images()
            for logger in loggers:
                logger.experiment.add_figure("misclassified", figure, trainer.current_epoch, close=False)
            if self.path is not None:
                save_figure(figure, self.path)
