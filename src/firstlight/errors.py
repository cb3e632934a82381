"""The errors that a user can mend. Each message is one line and says what to do next.

The command line prints the message alone and exits with status 2. A traceback is kept for our own bugs.
"""

from __future__ import annotations


class FirstlightError(Exception):
    """Something the user can mend: bad input, a missing file, a missing package."""


class DataError(FirstlightError):
    """A data set is missing, malformed or not the one that was asked for."""


class RunError(FirstlightError):
    """A run folder is missing, incomplete or does not fit what is asked of it."""


class UsageError(FirstlightError, ValueError):
    """An option or argument has a value that cannot work."""


class MissingPackageError(FirstlightError):
    """An optional package is needed for what was asked, and is not installed."""


class TrainingError(FirstlightError):
    """Training cannot go on: the loss is not finite, or the disk is full."""


class WriteError(FirstlightError):
    """A file cannot be written: the disk is full, or the folder is read-only."""


class StoppedError(BaseException):
    """A signal has stopped the training, which can go on later.

    Like KeyboardInterrupt it is no Exception: no library on the way may take it for a failure of its own.

    Args:
        message: how to go on.
        exit_status: of the command, 128 and the signal's number.
    """

    def __init__(self, message: str, exit_status: int) -> None:
        super().__init__(message)
        self.exit_status = exit_status
