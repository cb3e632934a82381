"""The table that a test prints."""

from __future__ import annotations

import pytest

from firstlight.training.print_metrics import print_metrics


def test_a_row_for_each_metric_and_a_column_for_each_loader(capsys: pytest.CaptureFixture[str]) -> None:
    print_metrics([{"test_acc": 0.9432000517845154, "test_loss": 2e-05}], "test")
    lines = [line.strip("│ ").split() for line in capsys.readouterr().out.splitlines()]
    assert ["test_acc", "│", "0.9432"] in lines
    assert ["test_loss", "│", "2e-05"] in lines
    print_metrics([{"test_acc/dataloader_idx_0": 0.5}, {"test_acc/dataloader_idx_1": 0.25}], "test")
    assert "│ test_acc │   0.5000 │   0.2500 │" in capsys.readouterr().out
    print_metrics([{}], "test")
    assert capsys.readouterr().out == ""
