"""Shared helpers: reading results files, and formatting numbers for a table's cells."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

import record
from firstlight.errors import UsageError

Row = dict[str, Any]


def load(name: str) -> Row:
    """Read `results/<name>.json`."""
    return json.loads(_text(f"{name}.json"))


def load_lines(name: str) -> list[Row]:
    """Read every line of `results/<name>.jsonl`."""
    return [json.loads(line) for line in _text(f"{name}.jsonl").splitlines()]


def _text(name: str) -> str:
    path = record.RESULTS / name
    if not path.is_file():
        raise UsageError(f"{name} is missing: benchmarks/README.md has the command that writes it")
    return path.read_text(encoding="utf-8")


def markdown(header: str, alignment: str, rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; `alignment` has "l" or "r" for each column."""
    rules = {"l": "---", "r": "---:"}
    lines = [f"| {header} |", f"|{'|'.join(rules[each] for each in alignment)}|"]
    return "\n".join([*lines, *(f"| {' | '.join(cells)} |" for cells in rows)])


def hardware(row: Row) -> str:
    """Describe the machine of a result, for instance "2 cores, AMD EPYC (avx512_bf16)"."""
    found = row["hardware"]
    unit = f" ({found['cpu_bfloat16']})" if found["cpu_bfloat16"] else ""
    return found["gpu"] or f"{found['cpu_cores']} cores, {found['cpu']}{unit}"


def hardware_with_threads(row: Row) -> str:
    """Describe machine and threads, for instance "2 cores, AMD EPYC (avx512_bf16), 1 thread"."""
    threads = row["hardware"]["threads"]
    return f"{hardware(row)}, {threads} thread{'s' if threads > 1 else ''}"


def commit(row: Row) -> str:
    """Return the commit of a result without the mark of a changed checkout."""
    return str(row["commit"]).removesuffix("+")


def count(n: int) -> str:
    """Return the number of runs; a single run is marked as such."""
    return "1 (single run)" if n == 1 else str(n)


def mean_percent(rows: list[Row], name: str) -> str:
    """Return mean and standard deviation of a share over runs, in percent; a dash if no run has it."""
    values = [row[name] for row in rows if row.get(name) is not None]
    if not values:
        return "-"
    return f"{statistics.fmean(values):.2%}" + (f" ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else "")


def with_standard_error(values: list[float]) -> str:
    """Return the mean and its standard error."""
    error = f" ± {statistics.stdev(values) / len(values) ** 0.5:.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):+.2f}{error}"
