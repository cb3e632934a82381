"""Keep the rows of Lightning's CSV logger when a run is resumed: the logger itself would start an empty file."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger, Logger

from firstlight.errors import RunError
from firstlight.files import read_text


def rows_before(folder: Path, step: int) -> list[dict[str, Any]]:
    """Return the rows of a run's CSV logger that were logged before a step.

    Raises:
        RunError: The file cannot be read.
    """
    path = folder / "csv" / "metrics.csv"
    if not path.is_file():
        return []
    try:
        rows = list(csv.DictReader(io.StringIO(read_text(path), newline="")))
    except (OSError, ValueError, csv.Error) as error:
        raise RunError(f"{path}: cannot be read as CSV; remove or restore it") from error
    return [row for row in rows if _is_number(row.get("step")) and int(row["step"]) < step]


def _is_number(cell: str | None) -> bool:
    return cell is not None and cell.isascii() and cell.isdecimal() and len(cell) < 16


def restore_rows(logger: Logger | None, rows: list[dict[str, Any]]) -> None:
    """Write the rows to the start of a CSV logger's new file; other loggers are unchanged."""
    if isinstance(logger, CSVLogger) and rows:
        logger.experiment.metrics.extend(rows)
        logger.save()
