"""A sweep on a Ray cluster of two nodes, one of whose workers is killed in the middle of a trial."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from firstlight.networks import ResNet9Config
from firstlight.recipes.config import Recipe
from firstlight.runs.run import Run
from reference.photo_folders import make_folder
from reference.ray_nodes import training_process, two_nodes

NUM_TRIALS = 3


def half_trained_run(folder: Path, sweep: subprocess.Popen[bytes]) -> tuple[Path, psutil.Process]:
    """Wait until a run has a checkpoint and is not finished, and return it with its process."""
    deadline_s = time.monotonic() + 120
    while time.monotonic() < deadline_s:
        assert sweep.poll() is None, sweep.stderr and sweep.stderr.read().decode()
        for path in folder.glob("version_*/checkpoints/*.ckpt"):
            run = path.parent.parent
            process = training_process(run)
            if process is not None and not (run / "results.json").exists():
                return run, process
        time.sleep(0.05)
    raise AssertionError("no trial began")


@pytest.mark.slow
def test_a_trial_whose_worker_is_killed_is_resumed_by_another_worker(tmp_path: Path) -> None:
    make_folder(tmp_path / "photos", {"cat": 30, "dog": 30})
    recipe = Recipe(name="small", data="folder", image_size=16, network=ResNet9Config(width=2), max_epochs=40)
    recipe.save(tmp_path / "recipe.yaml")
    (tmp_path / "space.yaml").write_text("optimizer.learning_rate: {low: 0.0001, high: 0.1, log: true}\n")
    folder = tmp_path / "logs" / "sweeps" / "small" / "version_0"
    with two_nodes(tmp_path) as (address, environment):
        command = [sys.executable, "-m", "firstlight", "sweep", "--config", "recipe.yaml", "--space", "space.yaml"]
        command += ["--data_dir", "photos", "--trials", str(NUM_TRIALS), "--fresh_seeds", "0", "--pruner", "asha"]
        command += ["--engine", "ray", "--ray_address", address]
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        sweep = subprocess.Popen(command, cwd=tmp_path, env=environment, **pipes)
        try:
            killed, process = half_trained_run(folder / "small", sweep)
            process.kill()
            _, errors = sweep.communicate(timeout=150)
        finally:
            sweep.kill()
            sweep.wait()
    lines = errors.decode().splitlines()
    assert sweep.returncode == 0, lines
    assert sum("its worker has died; another one resumes it" in line for line in lines) == 1
    assert all(line.startswith(("trial ", "the recipe ")) for line in lines), f"nothing of Ray's is printed: {lines}"
    with (folder / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    for column in ("trial", "optimizer.learning_rate", "runs"):
        assert len({row[column] for row in rows}) == len(rows) == NUM_TRIALS, column
    runs = {folder / row["runs"] for row in rows}
    assert runs == set((folder / "small").iterdir()), "no run is left over"
    assert killed in runs
    assert all(Run(run).is_finished for run in runs)
    assert len(json.loads((killed / "environment.json").read_text())["resumed"]) == 1
