"""Create a logger by its name: TensorBoard, CSV, Weights & Biases, MLflow or Comet."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger, Logger

from firstlight.errors import MissingPackageError, UsageError
from firstlight.extras import install_command
from firstlight.training.loggers.graph_logger import GraphLogger

PACKAGES = {"wandb": "wandb", "mlflow": "mlflow", "comet": "comet_ml"}  # each belongs to an extra of the same name


def make_logger(name: str, logs_dir: Path, recipe: str, version: str) -> Logger | None:
    """Return one of Lightning's loggers; those that write files write to the run folder.

    Args:
        name: "tensorboard", "csv", "wandb", "mlflow", "comet" or "none".
        logs_dir: Folder of all runs.
        recipe: Name of the recipe; the run folder is `logs_dir/recipe/version`.
        version: Name of the run folder.

    Raises:
        MissingPackageError: The package of the logger is not installed.
        UsageError: No logger has that name.
    """
    check_logger(name)
    return None if name == "none" else LOGGERS[name](logs_dir, recipe, version)


def check_logger(name: str) -> None:
    """Raise an error unless the logger can be created, before a run is started.

    Raises:
        MissingPackageError: The package of the logger is not installed.
        UsageError: No logger has that name.
    """
    if name == "neptune":
        raise UsageError(f"logger neptune: the service closed down; choose one of {', '.join(LOGGERS)}")
    if name not in (*LOGGERS, "none"):
        raise UsageError(f"logger {name!r} is not known; choose one of {', '.join([*LOGGERS, 'none'])}")
    try:
        import_module(PACKAGES.get(name, "firstlight"))
    except ImportError as error:
        raise MissingPackageError(
            f"logger {name}: its package is not installed; run {install_command(name)}"
        ) from error


def _tensorboard(logs_dir: Path, recipe: str, version: str) -> Logger:
    return GraphLogger(logs_dir, name=recipe, version=version, log_graph=True, default_hp_metric=False)


def _csv(logs_dir: Path, recipe: str, version: str) -> Logger:
    # In a folder of its own, because the run has another metrics.csv, with one row per epoch.
    return CSVLogger(logs_dir / recipe / version, name="", version="csv")


def _run_name(recipe: str, version: str) -> str:
    """Return a name with recipe, folder and time, for services that list the runs of many folders."""
    return f"{recipe}-{version}-{datetime.now():%Y-%m-%d_%H-%M}"


def _wandb(logs_dir: Path, recipe: str, version: str) -> Logger:
    from pytorch_lightning.loggers import WandbLogger

    return WandbLogger(name=_run_name(recipe, version), save_dir=logs_dir / recipe / version, project="firstlight")


def _mlflow(logs_dir: Path, recipe: str, version: str) -> Logger:
    from pytorch_lightning.loggers import MLFlowLogger

    return MLFlowLogger("firstlight", run_name=_run_name(recipe, version), save_dir=str(logs_dir / "mlruns"))


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
