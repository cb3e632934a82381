"""Write the files of a run folder: before a training, after it, and after a test."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import TensorBoardLogger
from torch import nn

from firstlight.compiled import plain_name
from firstlight.data.images import ImageSet
from firstlight.evaluation.predictions import Predictions
from firstlight.files import write_atomic
from firstlight.native.libraries import kernel_report
from firstlight.plots.curves import learning_curves
from firstlight.plots.figure import png_pixels, save_figure
from firstlight.recipes.config import Recipe
from firstlight.reports.class_report import has_confusion_figure, save_class_report
from firstlight.reports.data_sheets import random_samples
from firstlight.runs.environment import describe_environment
from firstlight.runs.epoch_metrics import read_metrics
from firstlight.runs.run import DECISIONS_FILE, Run
from firstlight.training.calibrate_network import calibrate_network
from firstlight.training.data_module import ImageData
from firstlight.training.initialization import seeded_network
from firstlight.training.loggers.projector import add_features
from firstlight.training.lr_schedules import num_epochs
from firstlight.training.start_weights import StartWeights

FINAL_METRICS = ("val_acc", "val_loss", "test_acc", "test_acc_tta", "test_loss")
TEST_FILES = (  # the first one marks the run as finished
    *("results.json", "predictions.npz", "misclassified.png"),
    *("confusion.csv", "confusion.png", "reliability.png"),
)


def save_description(folder: Path, recipe: Recipe, data: ImageData, start_weights: StartWeights | None = None) -> None:
    """Write `environment.json` and then `recipe.yaml`, whose presence makes the folder a run."""
    environment = describe_environment() | {"data": data.describe()}
    if start_weights is not None:
        environment["init"] = start_weights.to_dict()
    write_atomic(folder / "environment.json", json.dumps(environment, indent=2) + "\n")
    if data.decisions is not None:
        write_atomic(folder / DECISIONS_FILE, data.decisions.text)
    recipe.save(folder / "recipe.yaml")


def discard_test(folder: Path) -> None:
    """Remove the files of a test of earlier weights."""
    for name in TEST_FILES:
        (folder / name).unlink(missing_ok=True)


def save_training(run: Run, network: nn.Module, data: ImageData, trainer: pl.Trainer) -> None:
    """Write the weights, sample images and learning curves; TensorBoard gets the sample images, too."""
    run.save_weights(network, data.train, calibrate_network(network, data))
    samples = random_samples(data.train, run.recipe.seed).png()
    for logger in tensorboards(trainer):
        logger.experiment.add_image("samples", png_pixels(samples), dataformats="HWC")
    write_atomic(run.path / "samples.png", samples)
    if (run.path / "metrics.csv").is_file():
        curves = learning_curves(read_metrics(run.path / "metrics.csv"), f"{run.recipe.name}: loss and accuracy")
        save_figure(curves, run.path / "curves.png")


def save_test(
    run: Run, data: ImageData, predictions: Predictions | None, trainer: pl.Trainer, results: dict[str, float]
) -> None:
    """Write the predictions, the environment and the final metrics; `results.json` comes last and finishes the run."""
    class_results: dict[str, Any] = {}
    if predictions is not None:
        predictions.save(run.path / "predictions.npz")
        class_results = save_class_report(run, predictions)
        if tensorboards(trainer) and has_confusion_figure(predictions, run.class_names):
            pixels = png_pixels((run.path / "confusion.png").read_bytes())
            for tensorboard in tensorboards(trainer):
                tensorboard.experiment.add_image("confusion", pixels, dataformats="HWC")
        for tensorboard in tensorboards(trainer):
            add_features(tensorboard.experiment, data.test, predictions, trainer.global_step)
    save_environment(run, data, trainer)
    final = {f"final/{name}": results[name] for name in FINAL_METRICS if name in results}
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            started = {"started": run.environment["date"]}  # TensorBoard names runs by folder only
            logger.log_hyperparams(run.recipe.flat() | started, final)
        elif not trainer.lightning_module.hparams:  # Lightning has logged the hyperparameters of a module that has any
            logger.log_hyperparams(run.recipe.flat())
    run.save_json("results.json", results | class_results)


def save_environment(run: Run, data: ImageData, trainer: pl.Trainer) -> None:
    """Add the precision, the native kernels and a description of the data loaded so far to `environment.json`."""
    found = {"data": data.describe(), "precision": str(trainer.precision), "kernels": kernel_report()}
    run.save_json("environment.json", run.environment | found)


def exact_metrics(predictions: Predictions) -> dict[str, float]:
    """Return `test_acc` and `test_loss`, computed from the predictions of all processes.

    Lightning averages float32 sums of the processes instead, and the last bit depends on their number.
    """
    return {"test_acc": predictions.accuracy, "test_loss": predictions.loss}


def tensorboards(trainer: pl.Trainer) -> list[TensorBoardLogger]:
    """Return the trainer's TensorBoard loggers."""
    return [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]


def fits_recipe(network: nn.Module, recipe: Recipe, images: ImageSet) -> bool:
    """Return whether a network's weights have the names and shapes of those of the recipe's network."""
    expected = seeded_network(len(images.class_names), recipe).state_dict()
    found = {plain_name(name): value.shape for name, value in network.state_dict().items()}
    return found == {name: value.shape for name, value in expected.items()}


def effective_recipe(recipe: Recipe, data: ImageData, max_epochs: int | None) -> Recipe:
    """Return the recipe with the changes that the data and the trainer have made to it.

    Args:
        recipe: Recipe of the module.
        data: Loaded data; a folder of images changes the recipe's image size, validation images and batch size.
        max_epochs: Epochs of the trainer; None or -1 keeps those of the recipe.
    """
    changed = {name: getattr(data.recipe, name) for name in ("data", "image_size", "num_val", "batch_size")}
    return replace(recipe, max_epochs=num_epochs(max_epochs, recipe), **changed)
