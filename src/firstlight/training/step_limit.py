"""Say which limit ends a training for which the user has set a number of steps."""

from __future__ import annotations

import logging

import pytorch_lightning as pl
from pytorch_lightning.utilities import rank_zero_only


@rank_zero_only
def log_early_end(trainer: pl.Trainer) -> None:
    """Log a line if the epochs end a training before its `max_steps`."""
    num_steps = trainer.estimated_stepping_batches
    if trainer.max_steps > num_steps:
        logging.getLogger("firstlight").info(
            f"max_epochs={trainer.max_epochs} ends the training after {num_steps:,} steps, before "
            f"max_steps={trainer.max_steps}: set max_epochs=-1 to train for all {trainer.max_steps:,} steps"
        )
