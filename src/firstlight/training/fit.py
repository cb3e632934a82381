"""fit: a Recipe becomes a Run."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only

from firstlight.errors import FirstlightError
from firstlight.networks.resnet9 import ResNet9
from firstlight.places import DEFAULT_DATA_DIR, DEFAULT_LOGS_DIR
from firstlight.training.callbacks.histograms import Histograms
from firstlight.training.callbacks.metrics_table import MetricsTable
from firstlight.training.data_module import ImageData
from firstlight.training.environment import describe_environment
from firstlight.training.figures import save_figures
from firstlight.training.loggers import check_logger, make_logger
from firstlight.training.module import Classifier
from firstlight.training.recipe import Recipe
from firstlight.training.run import Run
from firstlight.training.trainer import Trainer

FINAL_METRICS = ("val_acc", "val_loss", "test_acc", "test_loss")


def fit(
    recipe: Recipe,
    data_dir: Path | str = DEFAULT_DATA_DIR,
    logs_dir: Path | str = DEFAULT_LOGS_DIR,
    *,
    logger: str = "tensorboard",
    histograms: bool = False,
    **trainer_options: Any,
) -> Run:
    """Train, test, and leave a run folder.

    Args:
        recipe: what to train, on what, and how.
        data_dir: where data sets on disk are kept.
        logs_dir: the run becomes `logs_dir/<recipe>/version_<n>`.
        logger: "tensorboard", "csv", "wandb", "mlflow", "comet" or "none".
        histograms: write weight and gradient histograms to TensorBoard, once an epoch.
        **trainer_options: any argument of `pytorch_lightning.Trainer`.

    Returns:
        The finished run.

    Raises:
        FirstlightError: the data are missing or malformed, or the folder cannot be written.
    """
    started_s = time.perf_counter()
    check_logger(logger)
    module, data = prepare(recipe, data_dir)
    recipe = data.recipe  # a folder of images settles some of it
    folder = _new_run_folder(recipe, data, Path(logs_dir))
    callbacks = [
        MetricsTable(folder / "metrics.csv"),
        ModelCheckpoint(folder / "checkpoints", save_last=True, save_top_k=0),
    ]
    callbacks += [Histograms()] if histograms else []
    trainer = Trainer(
        max_epochs=recipe.max_epochs,
        logger=make_logger(logger, Path(logs_dir), recipe.name, folder.name) or False,
        callbacks=callbacks + list(trainer_options.pop("callbacks", [])),
        **({"enable_model_summary": False} | trainer_options),
    )
    _announce(trainer, module, data, folder)
    fit_started_s = time.perf_counter()
    trainer.fit(module, datamodule=data)
    seconds = {"train_s": time.perf_counter() - fit_started_s}
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    metrics |= trainer.test(module, datamodule=data, verbose=False)[0]
    run = Run(trainer.strategy.broadcast(folder))
    if trainer.is_global_zero:
        seconds["total_s"] = time.perf_counter() - started_s
        _save(run, module, data, trainer, metrics | seconds)
    trainer.strategy.barrier()
    return run


def dry_run(recipe: Recipe, data_dir: Path | str = DEFAULT_DATA_DIR, **trainer_options: Any) -> None:
    """Put one batch through training, validation and test, and keep nothing (Lightning's `fast_dev_run`)."""
    module, data = prepare(recipe, data_dir)
    trainer = Trainer(max_epochs=1, fast_dev_run=True, **trainer_options)
    trainer.fit(module, datamodule=data)
    trainer.test(module, datamodule=data, verbose=False)


def prepare(recipe: Recipe, data_dir: Path | str) -> tuple[Classifier, ImageData]:
    """Return the module and the data of a recipe, all random numbers seeded."""
    pl.seed_everything(recipe.seed, workers=True, verbose=False)
    data = ImageData(recipe, data_dir)
    data.prepare_data()
    data.setup("fit")
    network = ResNet9(len(data.train.class_names), recipe.network, *data.train.mean_and_std)
    module = Classifier(network, data.recipe)
    module.example_input_array = torch.zeros(1, 3, *data.train.size_px)
    return module, data


def _new_run_folder(recipe: Recipe, data: ImageData, logs_dir: Path) -> Path:
    """Make the run folder, on the first process only; the others learn its name when they have met."""
    rank = getattr(rank_zero_only, "rank", 0)
    if rank:
        return logs_dir / recipe.name / f"rank_{rank}"
    folder = new_version(logs_dir / recipe.name)
    recipe.save(folder / "recipe.yaml")
    Run(folder).save_json("environment.json", describe_environment() | {"data": data.describe()})
    return folder


def _announce(trainer: pl.Trainer, module: Classifier, data: ImageData, folder: Path) -> None:
    """Say in one line what is about to happen."""
    if trainer.is_global_zero:
        num_parameters = sum(each.numel() for each in module.network.parameters())
        device = f"{trainer.world_size} x {trainer.strategy.root_device.type}"
        logging.getLogger("firstlight").info(
            f"{type(module.network).__name__} with {num_parameters:,} parameters on {data.train.name}: "
            f"{len(data.train):,} images to train, {len(data.val):,} to validate; "
            f"{trainer.precision} on {device}; run folder {folder}"
        )


def _save(run: Run, module: Classifier, data: ImageData, trainer: pl.Trainer, results: dict[str, float]) -> None:
    run.save_weights(module.network, data.train)
    assert module.test_predictions is not None
    module.test_predictions.save(run.path / "predictions.npz")
    run.save_json("results.json", results)
    run.save_json("environment.json", run.environment | {"data": data.describe()})
    tensorboard = next((each for each in trainer.loggers if isinstance(each, TensorBoardLogger)), None)
    save_figures(run, module, data, tensorboard)
    final = {f"final/{name}": results[name] for name in FINAL_METRICS if name in results}
    for each in trainer.loggers:
        if isinstance(each, TensorBoardLogger):
            each.log_hyperparams(run.recipe.flat(), final)
        else:
            each.log_hyperparams(run.recipe.flat())
        each.finalize("success")


def new_version(folder: Path) -> Path:
    """Make and return the next free `version_<n>` in a folder; two processes never get the same."""
    number = 0
    while True:
        path = folder / f"version_{number}"
        try:
            path.mkdir(parents=True)
            return path
        except FileExistsError:
            if not path.is_dir():
                break
            number += 1
        except OSError as error:
            raise FirstlightError(f"cannot make {path}: {error.strerror}. Choose another --logs_dir.") from error
    raise FirstlightError(f"cannot make {path}: a file is in the way. Choose another --logs_dir.")
