"""Results are recorded with their command, and a line is appended once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import record


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    monkeypatch.setattr("sys.argv", ["/somewhere/benchmarks/ddp.py", "--data_dir=/mnt/cifar", "--num_turns", "2"])
    return tmp_path


def test_a_result_holds_its_command_and_its_environment(folder: Path) -> None:
    path = record.record("name", record.command_line(), {"seconds": record.spread([1.0, 3.0])})
    found = json.loads(path.read_text())
    assert path == folder / "name.json"
    assert found["command"] == "python benchmarks/ddp.py --data_dir=DATA_DIR --num_turns 2"
    assert {"date", "commit", "hardware", "versions", "platform"} <= set(found)
    assert found["results"]["seconds"] == {"n": 2, "median": 2, "mean": 2, "deviation": 2**0.5, "values": [1, 3]}


def test_no_private_folder_is_published(monkeypatch: pytest.MonkeyPatch) -> None:
    private = ["--data_dir", "/home/me/data", "--logs_dir=/home/me/logs", "--run", "/home/me/my run", "--seeds", "1"]
    monkeypatch.setattr("sys.argv", ["accuracy.py", *private])
    shown = "--data_dir DATA_DIR --logs_dir=LOGS_DIR --run RUN --seeds 1"
    assert record.command_line() == f"python benchmarks/accuracy.py {shown}"


def test_a_line_gets_the_command_unless_it_has_one(folder: Path) -> None:
    record.append_line("runs", {"seed": 0})
    record.append_line("runs", {"seed": 0})
    record.append_line("runs", {"seed": 1, "command": None, "note": "not recorded"})
    first, second = map(json.loads, (folder / "runs.jsonl").read_text().splitlines())
    assert first == {"seed": 0, "command": "python benchmarks/ddp.py --data_dir=DATA_DIR --num_turns 2"}
    assert second == {"seed": 1, "command": None, "note": "not recorded"}


@pytest.mark.parametrize(
    ("values", "quantile"),  # one-sided 95 % quantiles of Student's distribution, from a printed table
    [([0.90, 1.00], 6.314), ([0.1] * 5 + [0.3] * 6, 1.812), ([0.2] * 15 + [0.4] * 16, 1.697)],
)
def test_the_lower_bound_is_that_of_students_distribution(values: list[float], quantile: float) -> None:
    n, mean = len(values), sum(values) / len(values)
    error = (sum((value - mean) ** 2 for value in values) / (n - 1) / n) ** 0.5
    assert record.lower_bound(values) == pytest.approx(mean - quantile * error, abs=0.01 * error)
