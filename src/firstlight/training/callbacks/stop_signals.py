"""Handle Ctrl-C and SIGTERM: end the training after the current step, with a checkpoint and the command to resume."""

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
    """Raises StoppedError for SIGINT and SIGTERM within the `with` block.

    During the training, the first signal only sets `received`, which `Checkpointing` reads before every step. A second
    signal, and a signal at any other time, raises the error at once.

    Args:
        folder: Run folder; the error names the command that resumes it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.received: signal.Signals | None = None
        self._is_training = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for each in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(each) != signal.SIG_IGN:  # a shell ignores SIGINT of commands with `&`
                    self._before[each] = signal.signal(each, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Make the first signal wait for the end of the step."""
        self._is_training = True
        self._install_handlers()

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let further signals stop the process at once; stop it now if a signal was received."""
        self._is_training = False
        if self.received is not None:
            self.end("after the last step")

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Install the handlers again, because Lightning has replaced them."""
        self._install_handlers()

    def end(self, where: str) -> NoReturn:
        """Raise the error that stops the process and names the command that resumes the run.

        Raises:
            StoppedError: Always, in the first process.
            SystemExit: Always, in the others, which print nothing.
        """
        if getattr(rank_zero_only, "rank", 0):
            raise SystemExit(0)
        received = self.received or signal.SIGTERM  # or another process has received it
        raise StoppedError(f"stopped {where}; resume with: {resume_command(self.folder)}", 128 + received)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        is_first, self.received = self.received is None, signal.Signals(number)
        if not self._is_training or not is_first:
            self.end("at once")
        logging.getLogger("firstlight").info("stopping after this step; repeat the signal to stop at once")

    def _install_handlers(self) -> None:
        """Install the handlers; Lightning's own handler of SIGTERM would end the training without a checkpoint."""
        for each in self._before:
            signal.signal(each, self._handle)


def resume_command(folder: Path) -> str:
    """Return the command that resumes a run."""
    return f"firstlight fit --resume {shlex.quote(str(folder))}"
