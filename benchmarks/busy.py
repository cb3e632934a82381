"""Measure how much busy programs slow down a training, with and without our limit on spinning OpenMP threads.

Without the limit, a waiting thread of GNU's OpenMP spins 300,000 times before it sleeps (the default). Both settings
are measured alternately, each in a new process. A busy program is an endless Python loop.

    python benchmarks/busy.py --num_trials 3
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl

from firstlight.openmp import SETTINGS
from record import command_line, record, spread

DEFAULT_SPIN_COUNT = "300000"  # default of GNU's OpenMP if there are no more threads than cores
NUM_BUSY = (0, 1, 2)
WARM_UP_STEPS = 3
STEPS = "--steps_of_a_child"


class StepTimes(pl.Callback):
    """Seconds of each training step after the first ones."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._last_s = time.perf_counter()

    def on_train_batch_end(self, *_: Any) -> None:
        now_s = time.perf_counter()
        self.seconds.append(now_s - self._last_s)
        self._last_s = now_s


def time_steps(num_steps: int) -> None:
    """Train a few steps of `demo`, and print the seconds of a step."""
    from firstlight.recipes import get_recipe
    from firstlight.training.build import build
    from firstlight.training.trainer import SILENT, Trainer

    recipe, times = get_recipe("demo"), StepTimes()
    module, data = build(recipe, "data")
    limits: dict[str, Any] = {"max_steps": num_steps + WARM_UP_STEPS, "limit_val_batches": 0}
    trainer = Trainer(max_epochs=recipe.max_epochs, **limits, **(SILENT | {"callbacks": [times]}))
    trainer.fit(module, datamodule=data)
    print(statistics.fmean(times.seconds[WARM_UP_STEPS:]))


@contextmanager
def busy_programs(count: int) -> Iterator[None]:
    """Run busy programs within the block."""
    programs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


def seconds_of_a_step(spin_count: str, num_busy: int, num_steps: int) -> float:
    """Return the seconds of a training step in a new process while busy programs run."""
    environment = os.environ | {"GOMP_SPINCOUNT": spin_count}
    command = [sys.executable, __file__, STEPS, str(num_steps)]
    with busy_programs(num_busy):
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num_trials", type=int, default=3)
    parser.add_argument("--num_steps", type=int, default=20)
    parser.add_argument(STEPS, dest="num_child_steps", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.num_child_steps:
        time_steps(options.num_child_steps)
        return
    counts = {"limited": SETTINGS["GOMP_SPINCOUNT"], "default": DEFAULT_SPIN_COUNT}
    seconds: dict[tuple[str, int], list[float]] = {(name, busy): [] for name in counts for busy in NUM_BUSY}
    for _ in range(options.num_trials):
        for busy in NUM_BUSY:
            for name, spin_count in counts.items():
                seconds[name, busy].append(seconds_of_a_step(spin_count, busy, options.num_steps))
                print(f"{busy} busy, {name}: {seconds[name, busy][-1]:.3f} s a step", flush=True)
    medians = {case: statistics.median(values) for case, values in seconds.items()}
    rows = [
        {
            "spinning": name,
            "num_busy": busy,
            "step_s": spread(seconds[name, busy]),
            "times_alone": medians[name, busy] / medians[name, 0],
        }
        for name, busy in seconds
    ]
    alone = medians["limited", 0] / medians["default", 0]
    results = {"what": "seconds of a training step of demo beside busy programs", "rows": rows}
    print(record("busy", command_line(), results | {"limited_to_default_alone": alone}))


if __name__ == "__main__":
    main()
