"""Measure the start of commands: wall-clock and CPU seconds, each in a new process, alternately.

`fit` trains one batch on embedded images that are in the cache already; `predict` classifies one image. `import torch`
is the part of each that firstlight cannot shorten.

python benchmarks/startup.py --num_turns 10
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from record import command_line, record, spread

PICTURE = Path(__file__).parents[1] / "docs" / "figures" / "resnet9.png"
FIRSTLIGHT = [sys.executable, "-m", "firstlight"]
COMMANDS = {
    "help": [*FIRSTLIGHT, "--help"],
    "recipes": [*FIRSTLIGHT, "recipes"],
    "import": [sys.executable, "-c", "import firstlight"],
    "import_torch": [sys.executable, "-c", "import torch"],
    "predict": [*FIRSTLIGHT, "predict", "--run", "bundled", str(PICTURE)],
    "fit_fast_dev_run": [*FIRSTLIGHT, "fit", "--recipe", "demo", "--fast_dev_run"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num_turns", type=int, default=10)
    options = parser.parse_args()
    wall_s: dict[str, list[float]] = {name: [] for name in COMMANDS}
    cpu_s: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(options.num_turns + 1):
        for name, command in COMMANDS.items():
            started_s, before = time.perf_counter(), os.times()
            subprocess.run(command, check=True, capture_output=True)
            after = os.times()
            wall_s[name].append(time.perf_counter() - started_s)
            cpu_s[name].append(
                after.children_user + after.children_system - before.children_user - before.children_system
            )
    results: dict[str, object] = {"what": "seconds of whole processes: wall clock, and CPU of all their processes"}
    for name in COMMANDS:  # the first turn fills the caches
        results[name] = {"wall_s": spread(wall_s[name][1:]), "cpu_s": spread(cpu_s[name][1:])}
    print(record("startup", command_line(), results))


if __name__ == "__main__":
    main()
