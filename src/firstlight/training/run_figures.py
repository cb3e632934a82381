"""The figures that a training writes to its run folder and to TensorBoard."""

from __future__ import annotations

from pytorch_lightning.loggers import TensorBoardLogger

from firstlight.plots.curves import learning_curves
from firstlight.plots.figure import save_figure
from firstlight.reports.data_sheets import random_samples
from firstlight.runs.metrics import read_metrics
from firstlight.runs.run import Run
from firstlight.training.data_module import ImageData


def save_figures(run: Run, data: ImageData, tensorboard: TensorBoardLogger | None) -> None:
    """Write samples and learning curves as PNG; the samples to TensorBoard, too."""
    samples = random_samples(data.train, run.recipe.seed)
    if tensorboard is not None:
        tensorboard.experiment.add_figure("samples", samples, close=False)
    curves = learning_curves(read_metrics(run.path / "metrics.csv"), f"{run.recipe.name}: loss and accuracy")
    save_figure(samples, run.path / "samples.png")
    save_figure(curves, run.path / "curves.png")
