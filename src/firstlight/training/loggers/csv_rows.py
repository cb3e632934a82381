"""Lightning's CSV logger begins its file anew: a run that is resumed gives it the rows up to the checkpoint back."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger, Logger


def rows_before(folder: Path, step: int) -> list[dict[str, Any]]:
    """Return the rows of the CSV logger's file in a run folder that were logged before a step."""
    path = folder / "csv" / "metrics.csv"
    if not path.is_file():
        return []
    with path.open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if (row.get("step") or "").isdecimal()]
    return [row for row in rows if int(row["step"]) < step]


def give_back(logger: Logger | None, rows: list[dict[str, Any]]) -> None:
    """Write the rows at the beginning of a CSV logger's new file; other loggers are left alone."""
    if isinstance(logger, CSVLogger) and rows:
        logger.experiment.metrics.extend(rows)
        logger.save()
