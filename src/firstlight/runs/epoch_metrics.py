"""Read `metrics.csv`, the losses and accuracies of each epoch."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

from firstlight.errors import RunError
from firstlight.files import read_text
from firstlight.paths import has_control_characters


def read_metrics(path: Path) -> dict[str, list[float | None]]:
    """Return the columns of `metrics.csv` by name; an empty cell, and a value that is not finite, is None.

    Raises:
        RunError: The file cannot be read, or a cell is not a number.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True))
        names = [name for name in (rows[0] if rows else ()) if name is not None and not has_control_characters(name)]
        return {name: [_number(row[name]) for row in rows] for name in names}
    except (OSError, ValueError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)[:100]
        raise RunError(f"{path}: cannot be read as the metrics of a run ({reason}); remove or restore it") from error


def _number(cell: str | None) -> float | None:
    value = float(cell) if cell else math.nan
    return value if math.isfinite(value) else None
