"""Put training and validation curves into one chart of TensorBoard, under the names that they are logged with."""

from __future__ import annotations

import pytorch_lightning as pl
from pytorch_lightning.loggers import TensorBoardLogger

LAYOUT = {
    "training and validation": {
        "loss": ["Multiline", ["train_loss_epoch", "val_loss"]],
        "accuracy": ["Multiline", ["train_acc_epoch", "val_acc"]],
    },
    "test": {
        "accuracy": ["Multiline", ["test_acc", "test_acc_tta"]],
        "loss": ["Multiline", ["test_loss"]],
    },
}


class ScalarsLayout(pl.Callback):
    """Adds charts to the "Custom Scalars" page of TensorBoard that show `train_*_epoch` and `val_*` together."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the layout, which TensorBoard reads once for each run."""
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger) and trainer.is_global_zero and trainer.global_step == 0:
                logger.experiment.add_custom_scalars(LAYOUT)
