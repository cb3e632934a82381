"""Keep the rows of Lightning's CSV logger when a run is resumed: the logger itself would start an empty file."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger, Logger


def rows_before(folder: Path, step: int) -> list[dict[str, Any]]:
    """Return the rows of a run's CSV logger that were logged before a step."""
    path = folder / "csv" / "metrics.csv"
    if not path.is_file():
        return []
    with path.open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if (row.get("step") or "").isdecimal()]
    return [row for row in rows if int(row["step"]) < step]


def restore_rows(logger: Logger | None, rows: list[dict[str, Any]]) -> None:
    """Write the rows to the start of a CSV logger's new file; other loggers are unchanged."""
    if isinstance(logger, CSVLogger) and rows:
        logger.experiment.metrics.extend(rows)
        logger.save()
