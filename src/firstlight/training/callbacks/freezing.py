"""No gradient for what does not learn any more."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl


class Freezing(pl.Callback):
    """Asks for no gradient of parameters whose learning rate has fallen to zero: the step is the same, and cheaper.

    The same but for the norm of Muon's filters, which is not set any more; under batch norm only their direction
    counts. What comes before the first layer that learns then needs no backward pass at all. With several processes,
    which exchange the gradients that they agreed on at the start, every step costs what the first did. When the
    training ends, all learn again.
    """

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Let exactly those parameters have a gradient whose rate is not zero in this step."""
        if trainer.world_size == 1:
            _let_learn(trainer, is_frozen_at_zero=True)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let all parameters learn again."""
        _let_learn(trainer, is_frozen_at_zero=False)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Let all parameters learn again."""
        _let_learn(trainer, is_frozen_at_zero=False)


def _let_learn(trainer: pl.Trainer, is_frozen_at_zero: bool) -> None:
    for optimizer in trainer.optimizers:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.requires_grad_(group["lr"] > 0 or not is_frozen_at_zero)
