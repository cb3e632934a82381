"""Record benchmark results as JSON, each with its command, date, commit, hardware and versions."""

from __future__ import annotations

import json
import re
import shlex
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from firstlight.evaluation.student_t import summarize_values
from firstlight.files import write_atomic
from firstlight.runs.environment import describe_environment

RESULTS = Path(__file__).parent / "results"
NUM_CIFAR10 = 50_000  # training images


def command_line() -> str:
    """Return the command of this process as it can be typed in a checkout.

    Private folders become DATA_DIR, LOGS_DIR, RUN and BUNDLE.

    >>> from unittest import mock
    >>> with mock.patch("sys.argv", ["/home/me/benchmarks/ddp.py", "--data_dir", "/mnt/my data", "--num_turns", "3"]):
    ...     print(command_line())
    python benchmarks/ddp.py --data_dir DATA_DIR --num_turns 3
    """
    command = shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    command = re.sub(r"(--data_dir[ =])('[^']*'|\S+)", r"\1DATA_DIR", command)
    command = re.sub(r"(--logs_dir[ =])('[^']*'|\S+)", r"\1LOGS_DIR", command)
    command = re.sub(r"(--place[ =])('[^']*'|\S+)", r"\1BUNDLE", command)
    return re.sub(r"(--run[ =])('[^']*'|\S+)", r"\1RUN", command)


def record(name: str, command: str, results: dict[str, Any]) -> Path:
    """Write `results/<name>.json`: the command, date, commit, hardware and versions, and the results."""
    path = RESULTS / f"{name}.json"
    content = {"name": name, "command": command} | describe_environment() | {"results": results}
    write_atomic(path, json.dumps(content, indent=2) + "\n")
    return path


def append_line(name: str, line: dict[str, Any]) -> None:
    """Append one run to `results/<name>.jsonl` unless the file has this line already.

    A line without a `command` gets the command of this process.
    """
    path, text = RESULTS / f"{name}.jsonl", json.dumps({**line, "command": line.get("command", command_line())}) + "\n"
    known = path.read_text(encoding="utf-8") if path.exists() else ""
    if text not in known.splitlines(keepends=True):
        write_atomic(path, known + text)


def usual_precision(line: dict[str, Any]) -> str:
    """Return the default training precision on the CPU that a run or a line describes."""
    return "bf16-mixed" if line["hardware"]["cpu_bfloat16"] else "32-true"


def lower_bound(values: Sequence[float]) -> float:
    """Return the one-sided 95 % lower confidence bound of the mean of at least two values (Student's t)."""
    lower = summarize_values(values).lower_bound
    assert lower is not None
    return lower


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Return n, median, mean, standard deviation and the values of repeated measurements."""
    return {
        "n": len(values),
        "median": statistics.median(values),
        "mean": statistics.fmean(values),
        "deviation": statistics.stdev(values) if len(values) > 1 else None,
        "values": list(values),
    }
