"""Hide warnings of other libraries about which a user can do nothing, and print firstlight's log messages as lines."""

from __future__ import annotations

import logging
import multiprocessing
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

LIGHTNING_LOGGERS = ("pytorch_lightning", "lightning_fabric")
NOT_FOR_USERS = (
    r".*isinstance\(treespec, LeafSpec\).*",  # Lightning calls a deprecated function of PyTorch
    r".*is not supported by the model summary.*",
    r".*The number of training batches.*is smaller than the logging interval.*",  # the first and last step are logged
    r".*does not have many workers.*",  # the batches are made on the device, without workers
    r".*it is recommended to use `devices=1`.*",  # no image is repeated: the metrics are exact
    r".*recommended to use `self\.log\(.*sync_dist=True.*",  # we reduce the means of an epoch once, at its end
    r".*Experiment logs directory .* exists and is not empty.*",  # a run that is resumed keeps its rows
    r".*Checkpoint directory .* exists and is not empty.*",  # the same trainer is used again
    r"Using `torch\.compile\(module\)` when there are global hooks",  # the summary sets hooks to count operations
    r".*torch\.jit\.trace.*",  # TensorBoard traces the model to draw its graph
    r"Converting a tensor to a Python .*might cause the trace to be incorrect.*",  # the graph is only drawn
    r".*Glyph .* missing from font.*",  # no installed font has the script of a class name
    r".*You defined a `validation_step` but have no `val_dataloader`.*",  # steps are only timed
    r".*Total length of `list` across ranks is zero.*",  # a recipe without validation images
    r".*Field `model\.\w+` and `model\.hparams\.\w+` are mutually exclusive.*",  # the tuner sets both
    r".*This property will be removed in 2\.0\.0\. Use `Metric\.updated_called`.*",  # torchmetrics calls it itself
)
# Log lines of Lightning: advertisements, and facts that firstlight logs itself.
_LINES_NOT_FOR_USERS = re.compile(
    r"(💡 )?Tip: |(GPU|TPU|HPU) available: |Using .* Automatic Mixed Precision|Loading `train_dataloader` to estimate|"
    r"`Trainer\.fit` stopped: `max_(epochs|steps)=|`weights_only` was not set|"
    r"`Trainer\(limit_\w+=.*` was configured so|"
    r"Restor(ing|ed all) states from the checkpoint .*/\.(lr_find|scale_batch_size)_"  # the tuner's own file
)


class StderrHandler(logging.Handler):
    """Writes each message to the current `sys.stderr`, without level or time."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the message of a record."""
        print(record.getMessage(), file=sys.stderr, flush=True)


def hide_foreign_notices_in_child() -> None:
    """Hide the notices of other libraries for good, and show firstlight's, in a process that another one has started.

    A spawned process has neither the filters nor the handlers of its parent.
    """
    if multiprocessing.parent_process() is not None:
        show_own_notices()
        without_foreign_notices().__enter__()


def show_own_notices() -> None:
    """Print firstlight's log messages, unless the user has configured logging."""
    logger = logging.getLogger("firstlight")
    if not logger.hasHandlers():
        logger.addHandler(StderrHandler())
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.INFO)


@contextmanager
def without_foreign_notices() -> Iterator[None]:
    """Hide advertisements and warnings that a user can do nothing about, within the block."""
    handlers = [handler for name in LIGHTNING_LOGGERS for handler in logging.getLogger(name).handlers]
    handlers = [handler for handler in handlers if _is_for_users not in handler.filters]  # not yet filtered
    with warnings.catch_warnings():
        for pattern in NOT_FOR_USERS:
            warnings.filterwarnings("ignore", message=pattern)
        for handler in handlers:
            handler.addFilter(_is_for_users)
        try:
            yield
        finally:
            for handler in handlers:
                handler.removeFilter(_is_for_users)


def _is_for_users(record: logging.LogRecord) -> bool:
    return not _LINES_NOT_FOR_USERS.match(record.getMessage())
