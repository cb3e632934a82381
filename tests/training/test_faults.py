"""Failures of a training end in one line, keep the last good checkpoint, and can be resumed."""

from __future__ import annotations

import math
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from firstlight.cli import main
from firstlight.errors import TrainingError, UsageError
from firstlight.networks import ResNet9Config
from firstlight.recipes.config import OptimizerConfig, Recipe
from firstlight.runs.checkpoints import all_tensors
from firstlight.runs.run import Run
from firstlight.training.callbacks.checkpointing import CheckpointTimes
from firstlight.training.callbacks.finite_loss import CHECK_EVERY_STEPS
from firstlight.training.fit import dry_run, fit
from firstlight.training.resume import resume
from reference.same_run import differences

ALWAYS = CheckpointTimes(every_s=0.0, share=math.inf)
BETWEEN_EPOCHS = CheckpointTimes(every_s=math.inf, share=math.inf)
PLAIN: dict[str, Any] = {"enable_progress_bar": False, "accelerator": "cpu"}
RECIPE = Recipe(
    name="tiny",
    data="tiny",
    num_val=32,
    network=ResNet9Config(width=2),
    optimizer=OptimizerConfig(learning_rate=0.01),
    max_epochs=2,
    batch_size=8,  # 20 steps an epoch
)


class Spoil(pl.Callback):
    """Makes a value infinite or NaN after a step."""

    def __init__(self, what: str, step: int) -> None:
        self.what = what
        self.step = step

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None:
        weight = pl_module.network.head.weight
        if trainer.global_step + 1 == self.step:
            with torch.no_grad():
                if self.what == "optimizer":  # its second moment becomes infinite, the weight does not change
                    weight.grad.fill_(1e30)
                else:
                    weight.fill_({"nan": math.nan, "infinity": math.inf}[self.what])


LOSS, WEIGHTS = (
    "the loss is no longer a finite number",
    "weights or the optimizer's values are no longer finite numbers",
)


@pytest.mark.parametrize(
    ("times", "what", "step", "said", "good"),
    [
        (BETWEEN_EPOCHS, "nan", 27, f"{LOSS} in epoch 2, step 28", 20),
        (ALWAYS, "infinity", 5, f"{WEIGHTS} in epoch 1, step 5", 4),
        (ALWAYS, "nan", 20, f"{WEIGHTS} in epoch 1, step 20", 19),
        (ALWAYS, "nan", 40, f"{WEIGHTS} in epoch 2, step 40", 39),
        (ALWAYS, "optimizer", 12, f"{WEIGHTS} in epoch 1, step 12", 11),
    ],
)
def test_a_nan_loss_ends_the_training_and_keeps_the_last_good_checkpoint(
    tiny: str, tmp_path: Path, times: CheckpointTimes, what: str, step: int, said: str, good: int
) -> None:
    with pytest.raises(TrainingError) as stopped:
        fit(RECIPE, logs_dir=tmp_path, callbacks=[Spoil(what, step)], checkpoints=times, logger="none", **PLAIN)
    run = Run(tmp_path / "tiny" / "version_0")
    newest = run.checkpoints.newest()
    assert newest is not None
    assert newest.step == good
    assert all(bool(each.isfinite().all()) for each in all_tensors(newest.content))
    message = str(stopped.value)
    assert message.startswith(said)
    assert str(newest.path) in message
    assert "--optimizer.learning_rate" in message
    assert len(message.splitlines()) == 1
    assert not run.is_finished


def test_without_checkpoints_a_nan_loss_is_found_within_ten_steps(tiny: str, tmp_path: Path) -> None:
    class Count(pl.Callback):
        steps = 0

        def on_train_batch_end(self, *_: Any, **__: Any) -> None:
            self.steps += 1

    count = Count()
    with pytest.raises(TrainingError, match=r"epoch 1, step 4 .*No checkpoint had been written yet"):
        fit(RECIPE, logs_dir=tmp_path, callbacks=[Spoil("nan", 3), count], logger="none", **PLAIN)
    assert count.steps <= CHECK_EVERY_STEPS


def test_a_rate_that_is_far_too_high_is_one_line_and_status_2(
    tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = f"--data tiny --num_val 32 --network.width 2 --max_epochs 2 --batch_size 32 --logs_dir {tmp_path}"
    rate = "--optimizer.name sgd --optimizer.learning_rate 1e30 --logger none --trainer.precision 32-true"
    assert main(["fit", *arguments.split(), *rate.split()]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "no longer a finite number" in line] == [lines[-1]]
    assert not [line for line in lines if "Traceback" in line]


@contextmanager
def largest_file(num_bytes: int) -> Iterator[None]:
    """Limit the size of files, so that larger writes fail as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(("logger", "limit"), [("none", 20_000), ("none", 60), ("tensorboard", 20_000)])
def test_a_full_disk_is_one_line_that_names_the_resume_command_and_nothing_is_lost(
    tiny: str, tmp_path: Path, logger: str, limit: int
) -> None:
    """The disk is too full for a checkpoint, for the table, or for TensorBoard's files."""

    class DiskFills(pl.Callback):
        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))

    expected = fit(RECIPE, logs_dir=tmp_path / "whole", logger=logger, **PLAIN).path
    with largest_file(10_000_000), pytest.raises(TrainingError) as stopped:
        fit(RECIPE, logs_dir=tmp_path, callbacks=[DiskFills()], checkpoints=ALWAYS, logger=logger, **PLAIN)
    folder = tmp_path / "tiny" / "version_0"
    assert str(stopped.value).endswith(f"resume with: firstlight fit --resume {folder}")
    assert len(str(stopped.value).splitlines()) == 1
    newest = Run(folder).checkpoints.newest()
    assert newest is not None
    assert newest.step >= 19
    assert not [path.name for path in folder.rglob(".*")], "half-written files were left behind"
    resume(folder)
    assert differences(folder, expected) == []


@pytest.mark.parametrize(
    ("options", "lacks"),
    [
        ({"max_steps": 0}, "train_loss"),
        ({"limit_train_batches": 0}, "train_loss"),
        ({"max_time": "00:00:00:00"}, "train_loss"),
        ({"limit_val_batches": 0}, "val_loss"),
        ({"limit_test_batches": 0}, "test_loss"),
    ],
    ids=lambda each: str(each),
)
def test_batch_limits_of_zero_leave_a_run_without_those_metrics(
    tiny: str, tmp_path: Path, options: dict[str, Any], lacks: str
) -> None:
    run = fit(replace(RECIPE, max_epochs=1), logs_dir=tmp_path, logger="none", **(PLAIN | options))
    assert run.is_finished
    assert lacks not in run.results
    assert (run.path / "metrics.csv").read_text().startswith("epoch,")
    if lacks == "test_loss":
        assert not (run.path / "predictions.npz").exists()
    else:
        assert run.results["test_acc"] == pytest.approx(run.predictions.accuracy)


@pytest.mark.parametrize(
    "options",
    [
        {"limit_val_batches": 0.001},
        {"precision": "nonsense"},
        {"strategy": "nonsense"},
        {"devices": 0},
    ],
    ids=str,
)
def test_options_that_lightning_refuses_are_one_line(tiny: str, tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as refusal:
        fit(RECIPE, logs_dir=tmp_path, logger="none", **(PLAIN | options))
    assert len(str(refusal.value).splitlines()) == 1
    assert list((tmp_path / "tiny").iterdir()) == [], "a run was left that can never be trained"


def test_a_dry_run_refuses_them_in_one_line_too(tiny: str) -> None:
    with pytest.raises(UsageError, match="nonsense"):
        dry_run(RECIPE, accelerator="cpu", precision="nonsense")


FULL = """
set -e
mount -t tmpfs -o size=1m tmpfs {place}
{python} -m firstlight fit --data drawn --num_val 9900 --max_epochs 3 --batch_size 50 --network.width 4 \\
    --logs_dir {place} || echo status $?
"""
READ_ONLY = """
set -e
mount -t tmpfs -o size=9m tmpfs {place}
cp -r {run} {place}/run
mount -o remount,ro {place}
{python} -m firstlight fit --resume {place}/run || echo status $?
{python} -m firstlight fit --data drawn --network.width 4 --logs_dir {place} || echo status $?
"""


def in_a_namespace(script: str, **names: object) -> subprocess.CompletedProcess[str]:
    """Run a shell script in its own mount namespace."""
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no disks can be mounted here")
    command = ["unshare", "-rm", "bash", "-c", script.format(python=sys.executable, **names)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)


@pytest.mark.slow
def test_a_full_file_system_is_one_line(tmp_path: Path) -> None:
    done = in_a_namespace(FULL, place=tmp_path)
    assert "status 2" in done.stdout
    assert "No space left on device" in done.stderr.splitlines()[-1]
    assert f"resume with: firstlight fit --resume {tmp_path}/adam24/version_0" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_read_only_file_system_is_one_line(tiny: str, tmp_path: Path) -> None:
    stop = Spoil("nan", 30)
    with pytest.raises(TrainingError):
        fit(RECIPE, logs_dir=tmp_path / "logs", callbacks=[stop], checkpoints=ALWAYS, logger="none", **PLAIN)
    place = tmp_path / "disk"
    place.mkdir()
    done = in_a_namespace(READ_ONLY, place=place, run=tmp_path / "logs" / "tiny" / "version_0")
    assert done.stdout.splitlines() == ["status 2", "status 2"]
    said = [line for line in done.stderr.splitlines() if line.startswith("firstlight fit: ")]
    assert ["Read-only file system" in line for line in said] == [True, True]
    assert "Traceback" not in done.stderr
