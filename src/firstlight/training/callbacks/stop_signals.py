"""Ctrl-C and SIGTERM: the training ends at the next step, with a checkpoint, and says how to go on."""

from __future__ import annotations

import logging
import shlex
import signal
import threading
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NoReturn

import pytorch_lightning as pl
from pytorch_lightning.utilities import rank_zero_only

from firstlight.errors import StoppedError


class StopSignals(pl.Callback):
    """Within the `with` block, SIGINT and SIGTERM raise StoppedError.

    While the training runs, the first signal only sets `received`: `Checkpoints` looks at it before every step. A
    second signal, and one that comes at another time, raises at once.

    Args:
        folder: of the run, to say how to go on.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.received: signal.Signals | None = None
        self._is_training = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for each in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(each) != signal.SIG_IGN:  # whoever started us wants it ignored: a shell, with `&`
                    self._before[each] = signal.signal(each, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Wait for the end of a step from now on."""
        self._is_training = True
        self._claim()

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Wait for nothing from now on."""
        self._is_training = False
        if self.received is not None:
            self.end("after the last step")

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the signals back from Lightning."""
        self._claim()

    def end(self, where: str) -> NoReturn:
        """End the run for now, and say how to go on.

        Raises:
            StoppedError: always, in the first process.
            SystemExit: always, in the others, which have nothing to say.
        """
        if getattr(rank_zero_only, "rank", 0):
            raise SystemExit(0)
        received = self.received or signal.SIGTERM  # or another process has received it
        raise StoppedError(f"stopped {where}; go on with: {resume_command(self.folder)}", 128 + received)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        is_first, self.received = self.received is None, signal.Signals(number)
        if not self._is_training or not is_first:
            self.end("at once")
        logging.getLogger("firstlight").info("stopping after this step; once more stops at once")

    def _claim(self) -> None:
        """Lightning has put its own handler of SIGTERM before ours; it would end the training without a checkpoint."""
        for each in self._before:
            signal.signal(each, self._handle)


def resume_command(folder: Path) -> str:
    """Return the command that goes on with a run."""
    return f"firstlight fit --resume {shlex.quote(str(folder))}"
