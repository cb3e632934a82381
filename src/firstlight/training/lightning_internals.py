"""Everything that firstlight uses of Lightning beyond its documented interface, in one file.

Checked against pytorch-lightning 2.6. When Lightning changes, this is the only file to change.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import RichProgressBar
from pytorch_lightning.strategies.launchers.multiprocessing import _MultiProcessingLauncher
from pytorch_lightning.utilities.compile import to_uncompiled


class OneBasedProgressBar(RichProgressBar):
    """A rich progress bar that counts epochs from 1."""

    def _get_train_description(self, current_epoch: int) -> str:
        """Return the label of an epoch, with the number of epochs unless it is unlimited."""
        max_epochs = self.trainer.max_epochs
        last = f"/{max_epochs}" if max_epochs and max_epochs > 0 else ""
        # Padded because the bar flickers when descriptions differ in width.
        return f"Epoch {current_epoch + 1}{last}".ljust(len(self.validation_description))


def attached_trainer(module: pl.LightningModule) -> pl.Trainer | None:
    """Return the module's trainer, or None; the public property raises an error instead."""
    return module._trainer


def outermost_frame() -> FrameType:
    """Return the frame in which the program began.

    Pass it to `save_hyperparameters`, which otherwise searches the constructor's frame for a local variable for every
    name in the signature. A generated signature has names without such a variable.
    """
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
    return frame


def pop_compiler(module: pl.LightningModule) -> Callable[[Any], Any] | None:
    """Undo `torch.compile` of a LightningModule, and return the function that compiled it.

    Lightning compiles whole steps, with logging that `torch.compile` cannot trace.

    Returns:
        A function that compiles a function with the same settings; None if the module is not compiled.
    """
    if module._compiler_ctx is None:
        return None
    compiler: Callable[[Any], Any] = module._compiler_ctx["dynamo_ctx"]
    to_uncompiled(module)
    for name in ("forward", "training_step", "validation_step", "test_step", "predict_step"):
        module.__dict__.pop(name, None)  # `to_uncompiled` leaves copies of the class's methods on the instance
    return compiler


def epoch_means(trainer: pl.Trainer) -> dict[str, Any]:
    """Return the running means of the epoch by the name under which they were logged.

    These are Lightning's result metrics of numbers that `training_step` logged with `on_epoch=True`. Their sum is
    `value`, their number of images `cumulated_batch_size`.
    """
    results = trainer.fit_loop.epoch_loop._results
    return {
        name: metric
        for name, metric in results.items()
        if metric.is_tensor and metric.meta.is_mean_reduction and metric.meta.on_epoch and not metric.has_reset
    }


def clear_computed(epoch_mean: Any) -> None:
    """Make Lightning compute an epoch mean again after its sum was changed."""
    epoch_mean._computed = None


def can_checkpoint_before_batch(trainer: pl.Trainer, batch_idx: int) -> bool:
    """Return whether Lightning can resume before this batch.

    It cannot while gradients are being accumulated, nor right after a validation within the epoch.
    """
    if batch_idx == 0 or batch_idx % trainer.accumulate_grad_batches:
        return False
    interval = trainer.val_check_batch
    if not isinstance(interval, int):
        return True
    return bool(batch_idx % interval and trainer.fit_loop.total_batch_idx % interval)


def rewind_to_batch_start(fit_loop: dict[str, Any]) -> int:
    """Rewind the counters of a checkpoint's fit loop to before the next batch, so that Lightning fetches it again.

    Args:
        fit_loop: `checkpoint["loops"]["fit_loop"]`; changed in place.

    Returns:
        The index of that batch in the epoch.
    """
    progress = fit_loop["epoch_loop.batch_progress"]
    progress["is_last_batch"] = False
    for counts in (progress["total"], progress["current"]):
        counts["ready"] = counts["completed"]
    fit_loop["state_dict"].pop("combined_loader", None)
    return int(progress["current"]["completed"])


def rewind_to_epoch_start(fit_loop: dict[str, Any]) -> None:
    """Rewind the counters of a checkpoint's fit loop to before the next epoch.

    Args:
        fit_loop: `checkpoint["loops"]["fit_loop"]`; changed in place.
    """
    progress = fit_loop["epoch_progress"]
    for counts in (progress["total"], progress["current"]):
        counts["ready"] = counts["completed"]


def position_within_epoch(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Return the batch at which a checkpoint continues, for `Batches.load_state_dict`; empty between epochs.

    Lightning itself loses the position if a learning-rate schedule needs the number of steps: it then sets up the
    loader before it restores the position, and the epoch would start again with its first images.
    """
    fit_loop = checkpoint.get("loops", {}).get("fit_loop")
    if fit_loop is None:
        return {}
    progress = fit_loop["epoch_loop.batch_progress"]
    next_batch = int(progress["current"]["ready"])
    if progress["is_last_batch"] or next_batch == 0:
        return {}
    states = fit_loop["state_dict"].get("combined_loader") or [{}]
    return {**(states[0] or {}), "epoch": int(checkpoint["epoch"]), "next_batch": next_batch}


def starts_processes_at_each_call(trainer: pl.Trainer) -> bool:
    """Return whether the strategy starts processes in `fit`, `test` and `predict`: ddp_spawn, ddp_fork, ddp_notebook.

    This process then only waits for them. What they compute is lost with them, except for weights and metrics.
    """
    return isinstance(trainer.strategy.launcher, _MultiProcessingLauncher)


def kill_workers(trainer: pl.Trainer) -> None:
    """Kill the worker processes that Lightning has started, which would otherwise hang."""
    launcher: Any = trainer.strategy.launcher
    if hasattr(launcher, "kill"):
        launcher.kill(signal.SIGKILL)
