"""Where benchmark numbers go: one JSON a claim, with all that is needed to judge it."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from firstlight.files import write_atomic
from firstlight.runs.environment import describe_environment

RESULTS = Path(__file__).parent / "results"
NUM_CIFAR10 = 50_000  # training images
STUDENT = (6.31, 2.92, 2.35, 2.13, 2.02, 1.94, 1.89, 1.86, 1.83, 1.81)  # 95 %, one-sided, of 1 to 10 degrees of freedom


def record(name: str, command: str, results: dict[str, Any]) -> Path:
    """Write `results/<name>.json` with date, commit, hardware and versions beside the results."""
    path = RESULTS / f"{name}.json"
    content = {"name": name, "command": command} | describe_environment() | {"results": results}
    write_atomic(path, json.dumps(content, indent=2) + "\n")
    return path


def append_line(name: str, line: dict[str, Any]) -> None:
    """Add a line to `results/<name>.jsonl`, where runs add up over days, unless it is there already."""
    path, text = RESULTS / f"{name}.jsonl", json.dumps(line) + "\n"
    known = path.read_text() if path.exists() else ""
    if text not in known.splitlines(keepends=True):
        write_atomic(path, known + text)


def usual_precision(line: dict[str, Any]) -> str:
    """Return the precision that training has, unless it is told otherwise, on the CPU of a run or a line."""
    return "bf16-mixed" if line["hardware"]["cpu_bfloat16"] else "32-true"


def lower_bound(values: Sequence[float]) -> float:
    """Return what the mean exceeds with 95 % confidence by Student's distribution; of two values or more."""
    freedom = len(values) - 1
    quantile = STUDENT[freedom - 1] if freedom <= len(STUDENT) else 1.645 + 1.6 / freedom  # off by under 0.01
    return statistics.fmean(values) - quantile * statistics.stdev(values) / math.sqrt(len(values))


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Return n, median, mean and standard deviation of repeated measurements, and the measurements."""
    return {
        "n": len(values),
        "median": statistics.median(values),
        "mean": statistics.fmean(values),
        "deviation": statistics.stdev(values) if len(values) > 1 else None,
        "values": list(values),
    }
