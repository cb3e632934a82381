"""Ctrl-C and SIGTERM leave a run that resumes with the same bits."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from firstlight.errors import StoppedError
from firstlight.runs.run import Run
from firstlight.training.callbacks.stop_signals import StopSignals, resume_command
from firstlight.training.fit import fit
from firstlight.training.resume import resume
from reference.interrupted import NEVER, PLAIN, RECIPE, SignalAt, case, slow, train_whole
from reference.same_run import differences


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """Set both signals as in a terminal: a shell ignores SIGINT for tests that are started with `&`."""
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never interrupted and never wrote a checkpoint."""
    return train_whole(tmp_path_factory.mktemp("whole"), logger="none")


@pytest.mark.parametrize(
    ("hook", "number", "signals", "status", "step"),
    [
        case("after a step", "on_train_batch_end", 2, [signal.SIGINT], 130, 2),
        case("in a step", "on_before_optimizer_step", 3, [signal.SIGTERM], 143, 3),
        case("after an epoch", "on_train_epoch_end", 1, [signal.SIGTERM], 143, 4),
        # two batches of the sanity check, then one per epoch: this is the last one
        case("in the last validation", "on_validation_batch_end", 4, [signal.SIGINT], 130, 12),
        case("twice", "on_before_zero_grad", 3, [signal.SIGINT, signal.SIGINT], 130, None),
        slow("in the test", "on_test_batch_end", 1, [signal.SIGTERM], 143, None),
        slow("before the first step", "on_sanity_check_start", 1, [signal.SIGINT], 130, None),
    ],
)
def test_a_run_that_was_stopped_by_a_signal_resumes_with_the_same_bits(
    tiny: str,
    whole: Path,
    tmp_path: Path,
    hook: str,
    number: int,
    signals: list[signal.Signals],
    status: int,
    step: int | None,
) -> None:
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    sender = SignalAt(hook, number, *signals)
    with pytest.raises(StoppedError) as stopped:
        fit(RECIPE, logs_dir=tmp_path, callbacks=[sender], checkpoints=NEVER, logger="none", **PLAIN)
    folder = tmp_path / "tiny" / "version_0"
    assert str(stopped.value).endswith(f"firstlight fit --resume {folder}")
    assert stopped.value.exit_status == status
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before
    newest = Run(folder).checkpoints.newest()
    assert (newest.step if newest else None) == step
    resume(folder)
    assert differences(folder, whole) == []


def test_a_signal_that_is_ignored_stays_ignored(tmp_path: Path) -> None:
    """A shell ignores SIGINT for commands that are started with `&`."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with StopSignals(tmp_path) as stop:
            assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) == stop._handle
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_resume_command_can_be_pasted_into_a_shell(tmp_path: Path) -> None:
    folder = tmp_path / "my logs" / "it's"
    assert shlex.split(resume_command(folder)) == ["firstlight", "fit", "--resume", str(folder)]
