"""The loggers by name, and the errors for unavailable ones."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger

from firstlight.errors import MissingPackageError, UsageError
from firstlight.training.loggers.factory import make_logger


def test_tensorboard_and_csv_write_into_the_run_folder(tmp_path: Path) -> None:
    tensorboard = make_logger("tensorboard", tmp_path, "demo", "version_3")
    table = make_logger("csv", tmp_path, "demo", "version_3")
    assert isinstance(tensorboard, TensorBoardLogger)
    assert isinstance(table, CSVLogger)
    assert Path(tensorboard.log_dir) == tmp_path / "demo" / "version_3"
    assert Path(table.log_dir).is_relative_to(tmp_path / "demo" / "version_3")
    assert make_logger("none", tmp_path, "demo", "version_3") is None


@pytest.mark.parametrize(("name", "module"), [("wandb", "wandb"), ("mlflow", "mlflow"), ("comet", "comet_ml")])
def test_the_error_of_a_missing_package_names_the_install_command(
    name: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # makes the import system report a missing module
    with pytest.raises(MissingPackageError, match=rf"pip install 'firstlight\[{name}\]'"):
        make_logger(name, tmp_path, "demo", "version_0")


def test_the_error_for_neptune_names_the_other_loggers() -> None:
    with pytest.raises(UsageError, match="closed down; choose one of tensorboard, csv, wandb, mlflow, comet"):
        make_logger("neptune", Path(), "demo", "version_0")
    with pytest.raises(UsageError, match="not known"):
        make_logger("paper", Path(), "demo", "version_0")
