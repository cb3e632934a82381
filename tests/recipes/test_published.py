"""The published results agree with benchmarks/results, and the recipes' headers with the published results."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from firstlight.recipes import RECIPES
from firstlight.recipes.published import Accuracy, published_results

ROOT = Path(__file__).parents[2]
PUBLISHED = published_results()


def header(name: str) -> dict[str, str]:
    """Return the fields of a recipe file's header."""
    text = import_module(f"firstlight.recipes.{name}").__doc__ or ""
    lines = re.findall(r"^([a-z]+) {2,}(.*(?:\n {10}.*)*)", text, flags=re.MULTILINE)
    return {key: " ".join(value.split()) for key, value in lines}


def percent(values: list[float]) -> str:
    """Return mean and standard deviation in percent, by numpy."""
    spread = f" ± {100 * np.std(values, ddof=1):.2f}" if len(values) > 1 else ""
    return f"{np.mean(values):.2%}"[:-1] + spread + " %"


def lines_of(name: str) -> list[dict[str, Any]]:
    """Return the result lines that an entry lists as its source."""
    entry = PUBLISHED[name]
    lines = [json.loads(text) for text in (ROOT / "benchmarks/results" / entry.source).read_text().splitlines()]
    return [
        line
        for line in lines
        if line["recipe"]["name"] == name
        and line["commit"] in entry.commits
        and line["recipe"]["seed"] in entry.seeds
        and line["recipe"]["max_epochs"] == RECIPES[name]().max_epochs
    ]


def test_the_file_in_the_package_is_what_the_script_writes() -> None:
    command = [sys.executable, ROOT / "benchmarks" / "published.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", PUBLISHED)
def test_each_number_is_that_of_the_lines_that_it_names(name: str) -> None:
    entry, lines = PUBLISHED[name], lines_of(name)
    assert len(lines) == entry.n == len(entry.seeds)
    assert str(entry.test_acc) == percent([line["test_acc"] for line in lines])
    tta = [line["test_acc_tta"] for line in lines if line.get("test_acc_tta") is not None]
    assert (str(entry.test_acc_tta) if entry.test_acc_tta else None) == (percent(tta) if tta else None)
    seconds = "seconds" if entry.minutes_of == "training and test" else "train_s"
    timed = [line[seconds] for line in lines if line[seconds] is not None]
    assert entry.minutes == pytest.approx(np.mean(timed) / 60, abs=0.05)
    threads = {line["hardware"]["threads"] for line in lines}
    assert {int(re.findall(r"(\d+) threads?$", entry.hardware)[0])} == threads


@pytest.mark.parametrize("name", RECIPES)
def test_a_header_gives_the_command_and_the_published_figures(name: str) -> None:
    found = header(name)
    assert found["command"] == ("firstlight demo" if name == "demo" else f"firstlight fit --recipe {name}")
    if name not in PUBLISHED:
        assert found["accuracy"].startswith("not published")
        assert not re.search(r"\d", found["accuracy"] + found.get("minutes", ""))
        return
    entry = PUBLISHED[name]
    tta = f"{entry.test_acc_tta} with" if entry.test_acc_tta else "no"
    assert found["accuracy"] == f"{entry.test_acc} single view, {tta} test-time augmentation, n={entry.n}"
    assert float(found["minutes"].split()[0]) == entry.minutes
    assert ("test" in found["minutes"]) == (entry.minutes_of == "training and test")
    assert found["hardware"] == entry.hardware
    assert found["results"] == f"benchmarks/results/{entry.source}"
    assert found["source"]


def test_an_accuracy_is_printed_in_percent_with_its_deviation_if_it_has_one() -> None:
    assert str(Accuracy(0.9, 0.0012)) == "90.00 ± 0.12 %"
    assert str(Accuracy(0.91234, None)) == "91.23 %"
