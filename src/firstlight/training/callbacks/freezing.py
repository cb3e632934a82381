"""Turn off gradients for parameters whose learning rate is zero."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl


class Freezing(pl.Callback):
    """Turns off gradients for parameters whose learning rate has fallen to zero, which makes the step cheaper.

    Layers before the first one that still learns need no backward pass. The result of a step is the same, except that
    Muon no longer normalizes the frozen filters; batch norm makes their norm irrelevant. With several processes
    nothing is frozen, because DistributedDataParallel fixes at the start which gradients it exchanges. All gradients
    are turned on again when the training ends.
    """

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Turn gradients on for exactly those parameters whose learning rate is not zero in this step."""
        if trainer.world_size == 1:
            _set_gradients(trainer, is_frozen_at_zero=True)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Turn all gradients on again."""
        _set_gradients(trainer, is_frozen_at_zero=False)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Turn all gradients on again."""
        _set_gradients(trainer, is_frozen_at_zero=False)


def _set_gradients(trainer: pl.Trainer, is_frozen_at_zero: bool) -> None:
    for optimizer in trainer.optimizers:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.requires_grad_(group["lr"] > 0 or not is_frozen_at_zero)
