"""Measure what a sweep of the demo recipe finds, and what the same number of random trials finds.

    python benchmarks/sweep.py --num_trials 40 --logs_dir /tmp/sweeps

For each sampler, the processes share one sweep, each on one thread. At the end of a sweep the best three trials and the
recipe itself are trained on three fresh seeds; the result keeps their validation accuracy, and the test accuracy of the
recipe itself and of the best one. The test images have no part in the sweep. A second call with the same folder
continues an interrupted sweep.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import psutil
import yaml

from firstlight.evaluation.student_t import MetricSummary, summarize_values
from firstlight.recipes.config import Recipe
from firstlight.runs.run import Run
from firstlight.sweeps.outcome import FRESH_SEEDS_FROM, Outcome
from firstlight.sweeps.sweep import FILE_NAME, resume_sweep
from firstlight.training.repeated_fits import fit_seeds
from firstlight.training.retest import retest
from record import command_line, record

SPACE = {
    "optimizer.learning_rate": {"low": 0.03, "high": 0.3, "log": True},
    "optimizer.head_rate": {"low": 0.005, "high": 0.08, "log": True},
    "optimizer.bias_rate": {"low": 0.01, "high": 0.2, "log": True},
    "optimizer.weight_decay": {"low": 2e-5, "high": 2e-3, "log": True},
    "label_smoothing": {"low": 0.0, "high": 0.2},
    "batch_size": {"choices": [64, 128, 256]},
    "augmentation.crop_px": {"choices": [1, 2, 3, 4]},
}
NUM_FRESH_SEEDS = 3
START_TIMEOUT_S = 120


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num_trials", type=int, default=40)
    parser.add_argument("--num_processes", type=int, default=2)
    parser.add_argument("--samplers", nargs="+", default=["tpe", "random"])
    parser.add_argument("--recipe", default="demo")
    parser.add_argument("--logs_dir", type=Path, required=True, help="folder for the sweeps, one for each sampler")
    parser.add_argument("--dry_run", action="store_true", help="print only, write no result")
    options = parser.parse_args()
    load_average = psutil.getloadavg()[0]
    sweeps = {name: measured(options, name) for name in options.samplers}
    results = {
        "what": f"sweeps of {options.recipe} with {options.num_processes} processes of one thread; accuracy in [0, 1]",
        "space": SPACE,
        "sweeps": sweeps,
        "load_average_before_1_min": load_average,
    }
    if not options.dry_run:
        print(record("sweep", command_line(), results))


def measured(options: argparse.Namespace, sampler: str) -> dict[str, Any]:
    """Run one sweep and return its summary."""
    began_s = time.time()
    found = run_sweep(options, options.logs_dir / sampler, sampler)
    wall_s = time.time() - began_s
    summary = summarize(found) | {"wall_s": wall_s}
    print(sampler, yaml.safe_dump(summary, sort_keys=False))
    return summary


def run_sweep(options: argparse.Namespace, logs_dir: Path, sampler: str) -> Outcome:
    """Run one sweep with several processes, and return its outcome."""
    folder = logs_dir / "sweeps" / options.recipe / "version_0"
    space = logs_dir / "space.yaml"
    logs_dir.mkdir(parents=True, exist_ok=True)
    space.write_text(yaml.safe_dump(SPACE), encoding="utf-8")
    begin = ["--recipe", options.recipe, "--space", str(space), "--trials", str(options.num_trials)]
    begin += ["--sampler", sampler, "--fresh_seeds", str(NUM_FRESH_SEEDS), "--logs_dir", str(logs_dir)]
    processes = []
    if not (folder / FILE_NAME).exists():
        processes.append(start(begin))
        wait_for(folder / FILE_NAME, processes[0])
    while len(processes) < options.num_processes:
        processes.append(start(["--resume", str(folder)]))
    statuses = [process.wait() for process in processes]
    if any(statuses):
        raise SystemExit(f"{folder}: a process of the sweep failed")
    return resume_sweep(folder)  # all trials and fresh seeds are there, so nothing is trained


def start(arguments: list[str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "firstlight", "sweep", *arguments]
    return subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL)


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait until a process has written a file."""
    deadline = time.time() + START_TIMEOUT_S
    while not path.exists():
        if process.poll() is not None or time.time() > deadline:
            raise SystemExit(f"{path}: the sweep has not begun")
        time.sleep(0.5)


def summarize(found: Outcome) -> dict[str, Any]:
    """Return the numbers of a sweep: its trials, the best ones on fresh seeds, and the test accuracy."""
    best = found.ranking[0]
    summary: dict[str, Any] = {
        "num_trials": len(found.trials),
        "num_pruned": sum(trial.is_pruned for trial in found.trials),
        "trial_s": sum(trial.duration_s for trial in found.trials),
        "recipe_in_the_sweep": next(trial.val_acc for trial in found.trials if trial.is_recipe),
        "best_in_the_sweep": {"val_acc": best.val_acc, "values": dict(best.values)},
        "importance": dict(found.importance),
        "fresh_seeds": {
            "recipe": as_numbers(found.recipe_val_acc),
            "best_three": [
                {"trial": each.trial.number, "val_acc": as_numbers(each.val_acc), "gain": as_numbers(each.gain)}
                for each in found.confirmations
            ],
        },
    }
    if found.recipe_val_acc is not None:
        summary["test_acc"] = {
            "recipe": tested(found, found.recipe),
            "best": tested(found, found.best),
            "values_of_the_best": dict(found.confirmations[0].trial.values) if found.best != found.recipe else {},
        }
    return summary


def tested(found: Outcome, recipe: Recipe) -> dict[str, Any] | None:
    """Return the test accuracy of a recipe on the fresh seeds, whose runs the sweep has left behind."""
    seeded = replace(recipe, seed=recipe.seed + FRESH_SEEDS_FROM)
    runs = fit_seeds(seeded, NUM_FRESH_SEEDS, logs_dir=found.path, test=False).runs
    return as_numbers(summarize_values([retest(Run(run.path))["test_acc"] for run in runs]))


def as_numbers(summary: MetricSummary | None) -> dict[str, Any] | None:
    return None if summary is None else asdict(summary)


if __name__ == "__main__":
    main()
