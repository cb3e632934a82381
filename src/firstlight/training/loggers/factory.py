"""The loggers by name: TensorBoard by default, the others by one flag."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger

from firstlight.errors import MissingPackageError, UsageError

PACKAGES = {"wandb": "wandb", "mlflow": "mlflow", "comet": "comet_ml"}  # of an extra of the same name


def make_logger(name: str, logs_dir: Path, recipe: str, version: str) -> Logger | None:
    """Return Lightning's logger of that name, which writes to the run's folder where it writes locally.

    Args:
        name: "tensorboard", "csv", "wandb", "mlflow", "comet" or "none".
        logs_dir: the root of all runs.
        recipe: the run's folder is `logs_dir/recipe/version`.
        version: likewise.

    Raises:
        MissingPackageError: the logger's package is not installed.
        UsageError: there is no such logger.
    """
    check_logger(name)
    return None if name == "none" else LOGGERS[name](logs_dir, recipe, version)


def check_logger(name: str) -> None:
    """Make sure that a logger can be had, before anything is begun.

    Raises:
        MissingPackageError: its package is not installed.
        UsageError: there is no such logger.
    """
    if name == "neptune":
        raise UsageError(f"logger neptune: the service closed down; choose one of {', '.join(LOGGERS)}")
    if name not in (*LOGGERS, "none"):
        raise UsageError(f"logger {name!r} is not known; choose one of {', '.join([*LOGGERS, 'none'])}")
    try:
        import_module(PACKAGES.get(name, "firstlight"))
    except ImportError as error:
        raise MissingPackageError(
            f"logger {name}: its package is not installed; run pip install 'firstlight[{name}]'"
        ) from error


def _tensorboard(logs_dir: Path, recipe: str, version: str) -> Logger:
    return TensorBoardLogger(logs_dir, name=recipe, version=version, log_graph=True, default_hp_metric=False)


def _csv(logs_dir: Path, recipe: str, version: str) -> Logger:
    # In a folder of its own: the run's own metrics.csv has one row an epoch, Lightning's one for every logging step.
    return CSVLogger(logs_dir / recipe / version, name="", version="csv")


def _wandb(logs_dir: Path, recipe: str, version: str) -> Logger:
    from pytorch_lightning.loggers import WandbLogger

    return WandbLogger(name=f"{recipe}-{version}", save_dir=logs_dir / recipe / version, project="firstlight")


def _mlflow(logs_dir: Path, recipe: str, version: str) -> Logger:
    from pytorch_lightning.loggers import MLFlowLogger

    return MLFlowLogger("firstlight", run_name=f"{recipe}-{version}", save_dir=str(logs_dir / "mlruns"))


def _comet(logs_dir: Path, recipe: str, version: str) -> Logger:
    from pytorch_lightning.loggers import CometLogger

    options: dict[str, Any] = {"project": "firstlight", "offline_directory": str(logs_dir / recipe / version)}
    return CometLogger(**options)


LOGGERS: dict[str, Callable[[Path, str, str], Logger]] = {
    "tensorboard": _tensorboard,
    "csv": _csv,
    "wandb": _wandb,
    "mlflow": _mlflow,
    "comet": _comet,
}
