"""The callback that lets a caller end a training early, by the validation accuracy of each epoch."""

from __future__ import annotations

from collections.abc import Callable

import pytorch_lightning as pl


class EarlyEnd(pl.Callback):
    """Passes the validation accuracy of each epoch to a function, and ends the training if it returns True.

    The training ends after the epoch like a finished one, so that its run folder is whole.

    Args:
        ends: Function of the number of epochs trained and of `val_acc`. After the last epoch its answer is ignored.

    Attributes:
        has_ended: Whether the function has ended the training.
    """

    def __init__(self, ends: Callable[[int, float], bool]) -> None:
        self.ends = ends
        self.has_ended = False

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Call the function."""
        if trainer.sanity_checking or "val_acc" not in trainer.callback_metrics:
            return
        num_epochs = trainer.current_epoch + 1
        is_hopeless = self.ends(num_epochs, float(trainer.callback_metrics["val_acc"]))
        if is_hopeless and num_epochs != trainer.max_epochs:
            self.has_ended = trainer.should_stop = True
