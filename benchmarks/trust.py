"""Measure the faithfulness of each explanation method's maps on a trained run, for the tables in docs/explaining.md.

python benchmarks/trust.py drawn   --run logs/demo/version_0 --num_images 500
python benchmarks/trust.py cifar10 --run logs/adam24/version_0 --data_dir DATA_DIR --num_images 500
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from firstlight.attribution import Faithfulness
from firstlight.reports.trust import measure_trust, not_better_than_noise
from firstlight.runs.run import Run, load
from firstlight.training.retest import load_test_images
from record import command_line, record


def describe(run: Run, rows: Sequence[Faithfulness], num_images: int, what: str) -> dict[str, Any]:
    """Return the results of a measurement, with the recipe and the test accuracy of the run."""
    return {
        "what": what,
        "recipe": run.recipe.to_dict(),
        "test_acc": run.results["test_acc"],
        "num_images": num_images,
        "rows": [asdict(row) | {"no_better_than_noise": not_better_than_noise(row, rows)} for row in rows],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=["drawn", "cifar10"])
    parser.add_argument("--run", required=True)
    parser.add_argument("--data_dir", default=None)
    parser.add_argument("--num_images", type=int, default=500)
    options = parser.parse_args()
    run = load(options.run)
    rows = measure_trust(run, load_test_images(run, options.data_dir).test, options.num_images)
    results = describe(run, rows, options.num_images, "means over test images chosen at random, single run")
    print(record(f"trust_{options.data}", command_line(), results))


if __name__ == "__main__":
    main()
