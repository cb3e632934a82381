"""Hide log messages and warnings of other libraries that a user cannot act on; all other warnings stay."""

from __future__ import annotations

import logging
import warnings

from firstlight.training.notices import LIGHTNING_LOGGERS, NOT_FOR_USERS, StderrHandler


def quiet_lightning() -> None:
    """Hide messages that a user cannot act on, and print firstlight's messages and all warnings in one line each."""
    for name in LIGHTNING_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    logger = logging.getLogger("firstlight")
    logger.setLevel(logging.INFO)
    has_handler = any(isinstance(each, StderrHandler) for each in logger.handlers)  # of an earlier verb in this process
    if not has_handler:
        logger.addHandler(StderrHandler())
    for pattern in NOT_FOR_USERS:
        warnings.filterwarnings("ignore", message=pattern)
    warnings.showwarning = _one_line  # type: ignore[assignment]


def _one_line(message: Warning | str, *_: object) -> None:
    logging.getLogger("firstlight").warning("warning: %s", " ".join(str(message).split()))
