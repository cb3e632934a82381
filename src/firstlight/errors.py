"""Errors that the user can fix. Each message is one line that says what to do.

The command line prints only the message and exits with status 2. Tracebacks are reserved for bugs.
"""

from __future__ import annotations


class FirstlightError(Exception):
    """An error that the user can fix: bad input, a missing file, a missing package."""


class DataError(FirstlightError):
    """A data set is missing, malformed or not the requested one."""


class RunError(FirstlightError):
    """A run folder is missing, incomplete or does not fit the request."""


class UsageError(FirstlightError, ValueError):
    """An option or argument has a value that cannot work."""


class MissingPackageError(FirstlightError):
    """A required optional package is not installed."""


class TrainingError(FirstlightError):
    """Training cannot continue: the loss is not finite, or the disk is full."""


class NotFiniteError(TrainingError):
    """The loss is not finite: other values of the recipe may train."""


class WriteError(FirstlightError):
    """A file cannot be written: the disk is full, or the folder is read-only."""


class StoppedError(BaseException):
    """A signal has stopped the training, which can be resumed.

    Like KeyboardInterrupt, it does not derive from Exception, so that no library catches it.

    Args:
        message: How to resume.
        exit_status: Exit status of the command: 128 plus the number of the signal.
    """

    def __init__(self, message: str, exit_status: int) -> None:
        super().__init__(message)
        self.exit_status = exit_status
