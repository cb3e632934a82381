"""Reading `metrics.csv`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from firstlight.errors import RunError
from firstlight.runs.epoch_metrics import read_metrics


def test_columns_of_metrics_are_numbers_and_empty_cells_are_none(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,val_acc,learning_rate\n0,,1e-3\n1,0.25,0.002\n")
    assert read_metrics(path) == {"epoch": [0, 1], "val_acc": [None, 0.25], "learning_rate": [0.001, 0.002]}
    path.write_text("epoch,val_acc\n")
    assert read_metrics(path) == {}


def test_values_that_are_not_finite_are_gaps(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,train_loss\n0,nan\n1,-inf\n2,1\n")
    assert read_metrics(path)["train_loss"] == [None, None, 1]


@pytest.mark.parametrize(
    "content", [b"epoch\nfirst\n", b"\xff\xfe\n1\n", b'epoch\n"1', b"epoch\n1,2\n" + b"9" * 200_000]
)
def test_a_damaged_file_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "metrics.csv"
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"metrics\.csv: cannot be read") as caught:
        read_metrics(path)
    assert len(str(caught.value).splitlines()) == 1


def test_a_fifo_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "metrics.csv")
    with pytest.raises(RunError, match="not a regular file"):
        read_metrics(tmp_path / "metrics.csv")
