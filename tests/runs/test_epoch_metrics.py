"""Reading `metrics.csv`."""

from __future__ import annotations

from pathlib import Path

from firstlight.runs.epoch_metrics import read_metrics


def test_columns_of_metrics_are_numbers_and_empty_cells_are_none(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,val_acc,learning_rate\n0,,1e-3\n1,0.25,0.002\n")
    assert read_metrics(path) == {"epoch": [0, 1], "val_acc": [None, 0.25], "learning_rate": [0.001, 0.002]}
    path.write_text("epoch,val_acc\n")
    assert read_metrics(path) == {}
