"""Write histograms of weights and gradients to TensorBoard."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import TensorBoardLogger


class Histograms(pl.Callback):
    """Writes a histogram of every weight and of its gradient, once an epoch, before the epoch's last update."""

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None:
        """Write the histograms if this is the last step of the epoch."""
        if trainer.fit_loop.epoch_loop.batch_idx + 1 != trainer.num_training_batches:
            return
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger) and trainer.is_global_zero:
                for name, parameter in pl_module.named_parameters():
                    logger.experiment.add_histogram(f"weights/{name}", parameter.float(), trainer.current_epoch)
                    if parameter.grad is not None:
                        logger.experiment.add_histogram(
                            f"gradients/{name}", parameter.grad.float(), trainer.current_epoch
                        )
