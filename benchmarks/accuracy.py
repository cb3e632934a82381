"""Measure the test accuracy of a recipe over several seeds.

Each run appends one line to `results/accuracy.jsonl`, and `benchmarks/tables.py` renders mean and deviation of every
recipe. `--runs` appends lines for run folders that exist already, instead of training. `--untimed` records no training
time; use it if other programs share the machine.

    python benchmarks/accuracy.py --recipe adam24 --seeds 0 1 2 --data_dir DATA_DIR
    python benchmarks/accuracy.py --runs logs/adam24/version_0
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from firstlight.cli.quiet import quiet_lightning
from firstlight.runs.run import Run, load
from record import append_line, usual_precision


def line_of(run: Run, is_timed: bool = True) -> dict[str, Any]:
    """Return the line of a run: its recipe, accuracies, training time (None if not timed) and environment."""
    environment = {name: run.environment.get(name) for name in ("date", "commit", "hardware", "versions")}
    environment["precision"] = precision_of(run)
    numbers = {name: run.results.get(name) for name in ("test_acc", "test_acc_tta", "test_loss", "val_acc", "train_s")}
    numbers["train_s"] = numbers["train_s"] if is_timed else None
    return {"recipe": run.recipe.to_dict()} | numbers | environment


def precision_of(run: Run) -> str:
    """Return the precision that a run recorded, or, for an old run, the precision that it requested."""
    requested = json.loads((run.path / "options.json").read_text(encoding="utf-8"))["trainer"].get("precision")
    return run.environment.get("precision") or requested or usual_precision(run.environment)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--data_dir", default="data")
    parser.add_argument("--logs_dir", default="logs")
    parser.add_argument("--runs", nargs="+", type=Path, default=[])
    parser.add_argument("--untimed", action="store_true", help="record no training time")
    options = parser.parse_args()
    for path in options.runs:
        append_line("accuracy", line_of(load(path), not options.untimed))
    if options.recipe:
        from firstlight.recipes import get_recipe
        from firstlight.training.fit import fit

        quiet_lightning()
        for seed in options.seeds:
            recipe = replace(get_recipe(options.recipe), seed=seed)
            run = fit(recipe, options.data_dir, options.logs_dir)
            append_line("accuracy", line_of(run, not options.untimed))


if __name__ == "__main__":
    main()
