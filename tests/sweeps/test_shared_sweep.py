"""Sweeps whose processes are killed, and sweeps that two processes share: every trial counts once."""

from __future__ import annotations

import csv
import subprocess
import sys
import time
from pathlib import Path

import pytest

from firstlight.networks import ResNet9Config
from firstlight.recipes.config import Recipe
from firstlight.sweeps.sweep_config import FILE_NAME
from reference.photo_folders import make_folder

NUM_TRIALS = 6
# A dead trial is noticed after three seconds instead of a minute.
IMPATIENT = (
    "import sys; from firstlight.sweeps import storage; storage.HEARTBEAT_S, storage.GRACE_S = 1, 3; "
    "from firstlight.cli import main; raise SystemExit(main(sys.argv[1:]))"
)
PATIENT = "import sys; from firstlight.cli import main; raise SystemExit(main(sys.argv[1:]))"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of images, a small recipe for it, and a search space; the place of the sweep's files."""
    make_folder(tmp_path / "photos", {"cat": 30, "dog": 30})
    recipe = Recipe(name="small", data="folder", image_size=16, network=ResNet9Config(width=2), max_epochs=2)
    recipe.save(tmp_path / "recipe.yaml")
    (tmp_path / "space.yaml").write_text("optimizer.learning_rate: {low: 0.0001, high: 0.1, log: true}\n")
    return tmp_path


def start(program: str, folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", program, "sweep", *arguments]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def begin(program: str, folder: Path) -> subprocess.Popen[bytes]:
    fixed = ("--config", "recipe.yaml", "--space", "space.yaml", "--data_dir", "photos", "--sampler", "random")
    return start(program, folder, *fixed, "--trials", str(NUM_TRIALS), "--fresh_seeds", "0")


def sweep_folder(folder: Path) -> Path:
    return folder / "logs" / "sweeps" / "small" / "version_0"


def check(folder: Path) -> None:
    """Check that the table has each trial once, with values and a run of its own."""
    with (sweep_folder(folder) / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == NUM_TRIALS
    for column in ("trial", "optimizer.learning_rate", "runs"):
        assert len({row[column] for row in rows}) == NUM_TRIALS, column


@pytest.mark.slow
def test_a_sweep_that_is_killed_again_and_again_ends_with_every_trial_once(folder: Path) -> None:
    process = begin(IMPATIENT, folder)
    for num_runs in (1, 2, 4):
        deadline_s = time.monotonic() + 120
        while len(list(sweep_folder(folder).glob("small/version_*"))) < num_runs:
            assert process.poll() is None, process.stderr and process.stderr.read().decode()
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        process.kill()
        process.wait()
        process = start(IMPATIENT, folder, "--resume", str(sweep_folder(folder)))
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors.decode()
    check(folder)


@pytest.mark.slow
def test_two_processes_share_a_sweep_without_a_trial_too_many(folder: Path) -> None:
    first = begin(PATIENT, folder)
    deadline_s = time.monotonic() + 60
    while not (sweep_folder(folder) / FILE_NAME).is_file():
        assert first.poll() is None
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    second = start(PATIENT, folder, "--resume", str(sweep_folder(folder)))
    for process in (first, second):
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors.decode()
    check(folder)
