"""Write the published results in the package, which `firstlight recipes` prints and the recipes' headers state.

Only results of a recipe as it is now count. Of several kinds of hardware, the one with the most runs is published.

    python benchmarks/published.py [--check]
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from firstlight.files import write_atomic
from firstlight.recipes import RECIPES
from rendering.cells import hardware_with_threads, load_lines
from rendering.recipe_versions import is_current
from rendering.training_time import of_last_commit

PATH = Path(__file__).parent.parent / "src" / "firstlight" / "recipes" / "published.json"
FEWEST_RUNS = {"demo": 2}  # one run of the demo misleads: its accuracy differs by points between machines
CPU_UNITS = {"amx_tile": "AMX", "avx512_bf16": "AVX512-BF16"}


def published() -> dict[str, Any]:
    """Return the results of every recipe that has some."""
    found = {name: of_recipe(name) for name in RECIPES}
    return {name: results for name, results in found.items() if results is not None}


def of_recipe(name: str) -> dict[str, Any] | None:
    """Return a recipe's results on the hardware with the most runs; None for too few runs, or none that was timed."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for line in load_lines("accuracy"):
        if line["recipe"]["name"] == name and is_current(line):
            groups["accuracy.jsonl", hardware_with_threads(line)].append(line)
    timed = [line for line in load_lines("time_to_accuracy") if line["recipe"]["name"] == name and is_current(line)]
    groups |= of_last_commit(timed, lambda line: ("time_to_accuracy.jsonl", hardware_with_threads(line)))
    if not groups:
        return None
    (source, _), lines = max(groups.items(), key=lambda item: len(item[1]))
    is_timed = source == "time_to_accuracy.jsonl"
    minutes = mean_minutes([line["seconds" if is_timed else "train_s"] for line in lines])
    if len(lines) < FEWEST_RUNS.get(name, 1) or minutes is None:
        return None
    return {
        "n": len(lines),
        "test_acc": mean_and_deviation([line["test_acc"] for line in lines]),
        "test_acc_tta": mean_and_deviation([line.get("test_acc_tta") for line in lines]),
        "minutes": minutes,
        "minutes_of": "training and test" if is_timed else "training",
        "hardware": described(lines[-1]["hardware"]),
        "source": source,
        "commits": sorted({line["commit"] for line in lines}),
        "seeds": sorted(line["recipe"]["seed"] for line in lines),
    }


def mean_and_deviation(values: list[float | None]) -> dict[str, float | None] | None:
    """Return mean and standard deviation; None if not measured, and no deviation of a single run."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return {"mean": statistics.fmean(known), "deviation": statistics.stdev(known) if len(known) > 1 else None}


def mean_minutes(seconds: list[float | None]) -> float | None:
    """Return the mean in minutes of the runs that were timed; None if none was."""
    known = [value for value in seconds if value is not None]
    return round(statistics.fmean(known) / 60, 1) if known else None


def described(hardware: dict[str, Any]) -> str:
    """Return the hardware in a few words, for instance "Intel Xeon (AMX), 1 thread"."""
    name = hardware["gpu"] or re.sub(r"\(R\)| Processor", "", hardware["cpu"]).strip()
    unit, threads = CPU_UNITS.get(hardware["cpu_bfloat16"]), hardware["threads"]
    return f"{name}{f' ({unit})' if unit else ''}, {threads} thread{'s' if threads > 1 else ''}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if the file is out of date")
    options = parser.parse_args()
    text = json.dumps(published(), indent=2) + "\n"
    if PATH.is_file() and PATH.read_text(encoding="utf-8") == text:
        return
    if options.check:
        sys.exit(f"{PATH} is out of date: run python benchmarks/published.py")
    write_atomic(PATH, text)


if __name__ == "__main__":
    main()
