"""The figures that a training leaves in its run folder and in TensorBoard."""

from __future__ import annotations

import csv
from pathlib import Path

import torch
from pytorch_lightning.loggers import TensorBoardLogger

from firstlight.data.images import ImageSet
from firstlight.data.rng import generator
from firstlight.files import atomic
from firstlight.plots.curves import learning_curves
from firstlight.plots.figure import Figure
from firstlight.plots.samples import sample_sheet
from firstlight.runs.run import Run
from firstlight.training.data_module import ImageData

NUM_SAMPLES = 32


def save_figures(run: Run, data: ImageData, tensorboard: TensorBoardLogger | None) -> None:
    """Write samples and learning curves as PNG; the samples to TensorBoard, too."""
    samples = random_samples(data.train, run.recipe.seed)
    if tensorboard is not None:
        tensorboard.experiment.add_figure("samples", samples, close=False)
    curves = learning_curves(read_metrics(run.path / "metrics.csv"), f"{run.recipe.name}: loss and accuracy")
    save_figure(samples, run.path / "samples.png")
    save_figure(curves, run.path / "curves.png")


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure; its suffix says the format."""
    with atomic(path) as temporary:
        figure.savefig(temporary, format=path.suffix.removeprefix("."))


def random_samples(images: ImageSet, seed: int, count: int = NUM_SAMPLES) -> Figure:
    """Draw images chosen at random, with their labels."""
    chosen = images[torch.randperm(len(images), generator=generator(seed, 0, "samples"))[:count]]
    labels = [images.class_names[label] for label in chosen.labels.tolist()]
    return sample_sheet(chosen.images.numpy(), labels, f"{images.name}: random samples")


def read_metrics(path: Path) -> dict[str, list[float | None]]:
    """Return the columns of `metrics.csv`; an empty cell is None."""
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return {name: [float(row[name]) if row[name] else None for row in rows] for name in (rows[0] if rows else ())}
