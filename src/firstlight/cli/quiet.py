"""Silence advice and notices of other libraries; warnings about the user's own data stay."""

from __future__ import annotations

import logging
import warnings

from firstlight.training.notices import LIGHTNING_LOGGERS, NOT_FOR_USERS, StderrHandler


def quiet_lightning() -> None:
    """Silence notices that a user cannot act on, and print our own messages in one line each."""
    for name in LIGHTNING_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    logger = logging.getLogger("firstlight")
    logger.setLevel(logging.INFO)
    if not any(
        isinstance(each, StderrHandler) for each in logger.handlers
    ):  # a second verb in one process uses the first's
        logger.addHandler(StderrHandler())
    for pattern in NOT_FOR_USERS:
        warnings.filterwarnings("ignore", message=pattern)
    warnings.showwarning = _one_line  # type: ignore[assignment]


def _one_line(message: Warning | str, *_: object) -> None:
    logging.getLogger("firstlight").warning("warning: %s", " ".join(str(message).split()))
