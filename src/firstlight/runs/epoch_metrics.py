"""Read `metrics.csv`, the losses and accuracies of each epoch."""

from __future__ import annotations

import csv
from pathlib import Path


def read_metrics(path: Path) -> dict[str, list[float | None]]:
    """Return the columns of `metrics.csv` by name; an empty cell is None."""
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return {name: [float(row[name]) if row[name] else None for row in rows] for name in (rows[0] if rows else ())}
