"""Advertisements and warnings that a user can do nothing about are hidden; all others are shown."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator

import pytest

from firstlight.training.notices import StderrHandler, show_own_notices, without_foreign_notices


@pytest.fixture
def screen() -> Iterator[io.StringIO]:
    """What Lightning's logger prints."""
    log, stream = logging.getLogger("pytorch_lightning"), io.StringIO()
    handler = logging.StreamHandler(stream)
    log.addHandler(handler)
    yield stream
    log.removeHandler(handler)


def say(*lines: str) -> None:
    for line in lines:
        logging.getLogger("pytorch_lightning.utilities.rank_zero").warning(line)


TIP = "💡 Tip: For seamless cloud logging and experiment tracking, try installing [litlogger](https://example.org)"


def test_tips_are_hidden_within_the_block_only(screen: io.StringIO) -> None:
    with without_foreign_notices():
        with without_foreign_notices():
            say(TIP)
        say(TIP, "GPU available: False, used: False", "Restored all states from the checkpoint")
    assert screen.getvalue() == "Restored all states from the checkpoint\n"
    say(TIP)
    assert TIP in screen.getvalue()


def test_the_tuners_own_checkpoints_are_hidden_and_the_users_are_not(screen: io.StringIO) -> None:
    restored = "Restored all states from the checkpoint at /runs/last.ckpt"
    with without_foreign_notices():
        say("`weights_only` was not set, defaulting to `False`.", "`Trainer.fit` stopped: `max_steps=1` reached.")
        say("Restoring states from the checkpoint path at /runs/.lr_find_37cd.ckpt", restored)
        say("Restored all states from the checkpoint at /runs/.scale_batch_size_4584.ckpt")
    assert screen.getvalue() == f"{restored}\n"


def test_a_warning_about_the_users_own_data_is_shown() -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with without_foreign_notices():
            warnings.warn("The 'train_dataloader' does not have many workers which may be a bottleneck", stacklevel=1)
            warnings.warn("the test images are not the ones that the run was tested on", stacklevel=1)
    assert [str(each.message) for each in seen] == ["the test images are not the ones that the run was tested on"]


def test_firstlights_messages_are_printed_unless_the_user_has_configured_logging(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours = logging.getLogger("firstlight")
    monkeypatch.setattr(ours, "handlers", [])
    monkeypatch.setattr(ours, "level", logging.NOTSET)
    monkeypatch.setattr(ours, "propagate", True)
    show_own_notices()
    assert ours.handlers == [], "pytest has configured the root logger"
    monkeypatch.setattr(ours, "propagate", False)
    show_own_notices()
    show_own_notices()
    assert [type(each) for each in ours.handlers] == [StderrHandler]
    assert ours.level == logging.INFO
