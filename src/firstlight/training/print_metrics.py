"""Print the metrics of a validation or a test as a table, rounded to four decimals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table


def print_metrics(results: Sequence[Mapping[str, float]], title: str) -> None:
    """Print a row for each metric and a column for each data loader.

    Args:
        results: Metrics of each loader, as Lightning returns them.
        title: Heading of the first column.
    """
    columns = [{_without_loader(name): value for name, value in result.items()} for result in results]
    names = sorted({name for column in columns for name in column})
    if not names:
        return
    table = Table(title)
    for number in range(len(columns)):
        table.add_column(f"loader {number}" if len(columns) > 1 else "", justify="right")
    for name in names:
        table.add_row(name, *(_rounded(column.get(name)) for column in columns))
    Console(markup=False, highlight=False).print(table)


def _without_loader(name: str) -> str:
    return name.partition("/dataloader_idx_")[0]


def _rounded(value: Any) -> str:
    """Return a number with four decimals, or four significant digits if it is small.

    >>> _rounded(0.9432000517845154), _rounded(0.000012345), _rounded(None)
    ('0.9432', '1.234e-05', '')
    """
    if value is None:
        return ""
    return f"{value:.4f}" if value == 0 or abs(value) >= 0.001 else f"{value:.4g}"
