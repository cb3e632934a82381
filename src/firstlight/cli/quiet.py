"""Keeps other libraries' advice and notices off the user's screen; warnings about the user's own data stay."""

from __future__ import annotations

import logging
import sys
import warnings

NOT_FOR_USERS = (
    r".*isinstance\(treespec, LeafSpec\).*",  # Lightning's use of PyTorch
    r".*is not supported by the model summary.*",
    r".*The number of training batches.*is smaller than the logging interval.*",
    r".*does not have many workers.*",  # the batches are made on the device, there are no workers
    r".*it is recommended to use `devices=1`.*",  # shards without repeats make the metrics exact
    r".*recommended to use `self\.log\(.*sync_dist=True.*",  # the epoch's means are added up once an epoch
    r".*Experiment logs directory .* exists and is not empty.*",  # a run that is resumed keeps its rows
    r".*torch\.jit\.trace.*",  # TensorBoard's graph is made with it
    r"Glyph .* missing from font.*",  # a class name in a script that no installed font has
    r".*You defined a `validation_step` but have no `val_dataloader`.*",  # steps are only timed
    r".*Total length of `list` across ranks is zero.*",  # a recipe that keeps no images to validate on
)


def quiet_lightning() -> None:
    """Silence notices that a user can do nothing about; show our own in one line each."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    ours = logging.getLogger("firstlight")
    ours.setLevel(logging.INFO)
    if not any(
        isinstance(each, _Lines) for each in ours.handlers
    ):  # a second verb in one process must not say it twice
        ours.addHandler(_Lines())
    for pattern in NOT_FOR_USERS:
        warnings.filterwarnings("ignore", message=pattern)
    warnings.showwarning = _one_line  # type: ignore[assignment]


class _Lines(logging.Handler):
    """Writes each message as it is to whatever standard error is at the moment."""

    def emit(self, record: logging.LogRecord) -> None:
        print(record.getMessage(), file=sys.stderr, flush=True)


def _one_line(message: Warning | str, *_: object) -> None:
    logging.getLogger("firstlight").warning("warning: %s", " ".join(str(message).split()))
