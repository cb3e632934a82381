"""fit: a Recipe becomes a Run."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import TensorBoardLogger

from firstlight.data.sources import DEFAULT_DATA_DIR
from firstlight.errors import FirstlightError
from firstlight.networks.resnet9 import ResNet9
from firstlight.training.callbacks.metrics_table import MetricsTable
from firstlight.training.data_module import ImageData
from firstlight.training.environment import describe_environment
from firstlight.training.module import Classifier
from firstlight.training.recipe import Recipe
from firstlight.training.run import Run
from firstlight.training.trainer import DEFAULT_LOGS_DIR, Trainer

FINAL_METRICS = ("val_acc", "val_loss", "test_acc", "test_loss")


def fit(
    recipe: Recipe,
    data_dir: Path | str = DEFAULT_DATA_DIR,
    logs_dir: Path | str = DEFAULT_LOGS_DIR,
    **trainer_options: Any,
) -> Run:
    """Train, test, and leave a run folder.

    Args:
        recipe: what to train, on what, and how.
        data_dir: where data sets on disk are kept.
        logs_dir: the run becomes `logs_dir/<recipe>/version_<n>`.
        **trainer_options: any argument of `pytorch_lightning.Trainer`.

    Returns:
        The finished run.

    Raises:
        FirstlightError: the data are missing or malformed, the folder cannot be written.
    """
    started_s = time.perf_counter()
    pl.seed_everything(recipe.seed, workers=True, verbose=False)
    data = ImageData(recipe, data_dir)
    data.setup("fit")
    network = ResNet9(len(data.train.class_names), recipe.network, *data.train.mean_and_std)
    module = Classifier(network, recipe)
    module.example_input_array = torch.zeros(1, 3, *data.train.size_px)
    folder = new_version(Path(logs_dir) / recipe.name)
    recipe.save(folder / "recipe.yaml")
    run = Run(folder)
    run.save_json("environment.json", describe_environment() | {"data": _describe_data(data)})
    logger = TensorBoardLogger(logs_dir, name=recipe.name, version=folder.name, log_graph=True, default_hp_metric=False)
    trainer = Trainer(
        max_epochs=recipe.max_epochs,
        logger=logger,
        callbacks=[
            MetricsTable(folder / "metrics.csv"),
            ModelCheckpoint(folder / "checkpoints", save_last=True, save_top_k=0),
        ],
        **trainer_options,
    )
    fit_started_s = time.perf_counter()
    trainer.fit(module, datamodule=data)
    train_s = time.perf_counter() - fit_started_s
    run.save_weights(network, data.train)
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    tested = trainer.test(module, datamodule=data, verbose=False)[0]
    assert module.test_predictions is not None
    module.test_predictions.save(folder / "predictions.npz")
    results = metrics | tested | {"train_s": train_s, "total_s": time.perf_counter() - started_s}
    run.save_json("results.json", results)
    logger.log_hyperparams(recipe.flat(), {f"final/{name}": results[name] for name in FINAL_METRICS if name in results})
    logger.finalize("success")
    return run


def new_version(folder: Path) -> Path:
    """Make and return the next free `version_<n>` in a folder; two processes never get the same."""
    number = 0
    while True:
        path = folder / f"version_{number}"
        try:
            path.mkdir(parents=True)
            return path
        except FileExistsError:
            number += 1
        except OSError as error:
            reason = f"cannot make {path}: {error.strerror}"
            raise FirstlightError(f"{reason}. Choose another place with --logs_dir.") from error


def _describe_data(data: ImageData) -> dict[str, Any]:
    return {
        "name": data.recipe.data,
        "place": os.path.abspath(data.data_dir),
        "train_digest": data.train.digest(),
        "num_train": len(data.train),
        "num_val": len(data.val),
    }
