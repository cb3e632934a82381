"""benchmarks/README.md lists every script and every results file, and every row of results can be reproduced."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
RESULTS = BENCHMARKS / "results"
README = (BENCHMARKS / "README.md").read_text()
SECTIONS = dict(zip(("title", "published", "unpublished", "modules"), README.split("\n## "), strict=True))
COMMAND = re.compile(r"`(python benchmarks/[^`]*)`")
SCRIPT = re.compile(r"^python benchmarks/([a-z_]+\.py)( |$)")
FILE = re.compile(r"`([a-zA-Z_0-9]+\.jsonl?)`")
LISTED = [found for section in ("published", "unpublished") for found in COMMAND.findall(SECTIONS[section])]
PRIVATE_PATH = re.compile(r"(?<![\w.])/(tmp|home|root|work|mnt|Users)/")


RESULT_FILES = sorted(RESULTS.iterdir())


def rows(path: Path) -> list[dict[str, Any]]:
    """Read the one row of a JSON file, or every line of a JSONL file."""
    text = path.read_text(encoding="utf-8")
    return [json.loads(text)] if path.suffix == ".json" else [json.loads(line) for line in text.splitlines()]


def script_of(command: str) -> Path:
    found = SCRIPT.match(command)
    assert found, f"not a command of a benchmark: {command}"
    return BENCHMARKS / found[1]


def test_every_script_is_listed_once_and_every_listed_script_exists() -> None:
    listed = {script_of(command).name for command in LISTED}
    modules = set(re.findall(r"^\| `([a-z_]+\.py)` \|", SECTIONS["modules"], flags=re.MULTILINE))
    assert not listed & modules
    assert listed | modules == {path.name for path in BENCHMARKS.glob("*.py")}
    packages = set(re.findall(r"^\| `([a-z_]+)/` \|", SECTIONS["modules"], flags=re.MULTILINE))
    assert packages == {path.parent.name for path in BENCHMARKS.glob("*/__init__.py")}


def test_every_results_file_is_listed_and_every_published_file_exists() -> None:
    published = set(FILE.findall(SECTIONS["published"]))
    assert published == {path.name for path in RESULTS.iterdir()}
    assert not set(FILE.findall(SECTIONS["unpublished"])) & published


@pytest.mark.parametrize("command", LISTED)
def test_a_listed_command_has_options_that_its_script_knows(command: str) -> None:
    source = script_of(command).read_text()
    for option in re.findall(r" (--[a-z_]+)", command):
        assert re.search(rf'add_argument\(\s*"{option}"', source), f"{command}: the script has no option {option}"


def test_the_listed_command_of_a_json_is_the_recorded_one() -> None:
    checked = 0
    for line in SECTIONS["published"].splitlines():
        for name in FILE.findall(line):
            if name.endswith(".json"):
                recorded = json.loads((RESULTS / name).read_text())["command"]
                recorded = re.sub(r"--place logs/\S+", "--place BUNDLE", recorded)
                assert COMMAND.findall(line) == [recorded], name
                checked += 1
    assert checked > 10


@pytest.mark.parametrize("path", RESULT_FILES, ids=[path.name for path in RESULT_FILES])
def test_every_row_holds_what_is_needed_to_judge_and_repeat_it(path: Path) -> None:
    for row in rows(path):
        assert re.fullmatch(r"[0-9a-f]{40}\+?", row["commit"])
        assert re.match(r"\d{4}-\d\d-\d\dT", row["date"])
        assert {"cpu", "cpu_cores", "gpu", "threads"} <= set(row["hardware"])
        assert {"python", "torch", "firstlight"} <= set(row["versions"])
        assert not PRIVATE_PATH.search(json.dumps(row)), "a path of somebody's machine"
        if row["command"] is None:
            assert row["note"], "a row without a command says why"
        else:
            assert script_of(row["command"]).is_file(), row["command"]


@pytest.mark.parametrize("path", RESULT_FILES, ids=[path.name for path in RESULT_FILES])
def test_repeated_measurements_say_how_many_there_are(path: Path) -> None:
    for row in rows(path):
        for numbers in spreads(row):
            assert numbers["n"] == len(numbers["values"]) > 0
            assert (numbers["deviation"] is None) == (numbers["n"] == 1)


def spreads(node: Any) -> list[dict[str, Any]]:
    """Find all summaries of repeated measurements inside a row."""
    if isinstance(node, dict):
        own = [node] if "values" in node and "median" in node else []
        return own + [found for value in node.values() for found in spreads(value)]
    if isinstance(node, list):
        return [found for value in node for found in spreads(value)]
    return []
