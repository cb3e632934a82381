"""Measure the time and the size of a run's report, and how long a browser takes to open it.

    python benchmarks/report.py drawn --run RUN
    python benchmarks/report.py cifar10 --run RUN --data_dir DATA_DIR
    python benchmarks/report.py cifar10 --data_dir DATA_DIR

Without --run, the script makes a run from the bundled network and CIFAR-10 and tests it first; the test is not timed.
The stages of the report are timed one by one, in wall-clock seconds and in CPU seconds, which other work on the machine
changes little. The results file is `report_DATA`; --dry_run writes none.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch

from firstlight.data.images import ImageSet, split_stratified
from firstlight.data.source import open_source
from firstlight.export.bundle import BUNDLED_PATH
from firstlight.recipes.config import Recipe
from firstlight.recipes.nested import from_dict
from firstlight.reports import run_report
from firstlight.reports.cached_predictions import predict_images
from firstlight.reports.shortcuts import Shortcut
from firstlight.runs.environment import describe_environment
from firstlight.runs.pretrained import Pretrained
from firstlight.runs.run import Run
from record import command_line, record, spread

_Value = TypeVar("_Value")
STAGES = (
    *("make_gallery", "sample_maps", "find_weak_slices", "find_shortcuts"),
    *("find_training_evidence", "make_feature_map", "render_report"),
)


def main() -> None:
    options = parse_options()
    source = open_source(options.data, options.data_dir)
    with tempfile.TemporaryDirectory() as folder:
        test = source.test()
        run = Run(options.run) if options.run else make_run(Path(folder), test, options.data_dir)
        train = split_stratified(source.train(), run.recipe.num_val, run.recipe.seed)[0]
        page = options.out or Path(folder) / "report.html"
        found: dict[str, Any] = {}
        seconds = [measure(run, test, train, page, found) for _ in range(options.num_trials)]
        results = {
            "what": "write_report with all findings; the time to read the data set is not included",
            "threads": torch.get_num_threads(),
            "num_test": len(test),
            "num_train": len(train),
            "num_mistakes": len(run.predictions.misclassified()),
            "megabytes": page.stat().st_size / 1e6,
            "seconds": {name: spread([each[name][0] for each in seconds]) for name in seconds[0]},
            "cpu_s": {name: spread([each[name][1] for each in seconds]) for name in seconds[0]},
            "shortcuts": [describe(each, test) for each in found["find_shortcuts"]],
            "open_s": open_in_browser(page),
        }
    print(json.dumps(results, indent=2))
    if not options.dry_run:
        record(f"report_{options.data}", command_line(), results)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=["drawn", "watermark", "cifar10"])
    parser.add_argument("--run", type=Path, help="a finished run; without it the bundled network on CIFAR-10")
    parser.add_argument("--data_dir", type=Path, default=Path("data"))
    parser.add_argument("--num_trials", type=int, default=1)
    parser.add_argument("--out", type=Path, help="keep the report in this file")
    parser.add_argument("--dry_run", action="store_true", help="print only, write no result")
    return parser.parse_args()


def make_run(folder: Path, test: ImageSet, data_dir: Path) -> Run:
    """Make a finished run of the bundled network, with its predictions for CIFAR-10."""
    bundled = Pretrained(BUNDLED_PATH)
    from_dict(Recipe, bundled.config.recipe).save(folder / "recipe.yaml")
    run = Run(folder)
    run.save_weights(bundled.network, test)
    predict_images(bundled.network, test).save(folder / "predictions.npz")
    data = {"name": "cifar10", "place": str(data_dir), "num_images": {"train": 50_000, "test": len(test)}}
    run.save_json("environment.json", describe_environment() | {"data": data})
    run.save_json("results.json", {"test_acc": run.predictions.accuracy})
    return run


def measure(
    run: Run, test: ImageSet, train: ImageSet, path: Path, found: dict[str, Any]
) -> dict[str, tuple[float, float]]:
    """Write the report, and return the seconds and the seconds of CPU time of each stage and of all."""
    seconds: dict[str, tuple[float, float]] = {}
    originals = {name: getattr(run_report, name) for name in STAGES}
    try:
        for name, function in originals.items():
            setattr(run_report, name, timed(name, function, seconds, found))
        timed("all", run_report.write_report, seconds, found)(run, test, path, train=train)
    finally:
        for name, function in originals.items():
            setattr(run_report, name, function)
    return seconds


def timed(
    name: str, function: Callable[..., _Value], seconds: dict[str, tuple[float, float]], found: dict[str, Any]
) -> Callable[..., _Value]:
    """Return the function, which writes its seconds and its result into dictionaries at each call."""

    def run(*arguments: Any, **options: Any) -> _Value:
        started, started_cpu = time.perf_counter(), time.process_time()
        result = function(*arguments, **options)
        seconds[name] = time.perf_counter() - started, time.process_time() - started_cpu
        found[name] = result
        return result

    return run


def describe(shortcut: Shortcut, test: ImageSet) -> dict[str, Any]:
    """Return the numbers of a shortcut."""
    return {
        "class": test.class_names[shortcut.peaks.label],
        "cell": [shortcut.row, shortcut.column],
        "share_of_peaks": shortcut.peaks.share,
        "share_of_peaks_elsewhere": shortcut.peaks.share_elsewhere,
        "changed_of_class": shortcut.changed_of_class[shortcut.peaks.cell],
        "largest_changed_of_class_elsewhere": shortcut.largest_elsewhere,
        "num_images": shortcut.num_images,
        "num_changed": shortcut.num_changed,
        "accuracy": shortcut.accuracy,
        "accuracy_covered": shortcut.accuracy_covered,
    }


def open_in_browser(path: Path) -> float | None:
    """Return the seconds from the request to the end of the load event in headless Chromium; None without it."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not browser or not driver:
        return None
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in ("--headless=new", "--no-sandbox"):
        options.add_argument(argument)
    started = webdriver.Chrome(options=options, service=Service(driver))
    try:
        started.get(path.as_uri())
        script = "return performance.getEntriesByType('navigation')[0].loadEventEnd / 1000"
        return float(started.execute_script(script))
    finally:
        started.quit()


if __name__ == "__main__":
    main()
