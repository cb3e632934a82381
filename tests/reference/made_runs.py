"""Several runs on the tiny data set without training: their predictions are the labels with chosen mistakes."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch.nn import functional

from firstlight.evaluation.predictions import Predictions
from firstlight.runs.run import Run
from reference.made_run import make_run
from reference.tiny import tiny_split


def predictions_with_mistakes(wrong: Sequence[int], confidence: float = 4.0) -> Predictions:
    """Return correct predictions for the test images, except in the rows `wrong`: there, the next class."""
    labels = tiny_split("test").labels
    predicted = labels.clone()
    predicted[list(wrong)] = (predicted[list(wrong)] + 1) % 4
    logits = confidence * functional.one_hot(predicted, 4).float()
    return Predictions(logits, torch.zeros(len(labels), 1), labels, torch.arange(len(labels)))


def make_runs(
    folder: Path, mistakes: Sequence[Sequence[int]], seeds: Sequence[int], epochs: Sequence[int]
) -> list[Run]:
    """Write a run for each list of mistakes, with its seed and its number of epochs in the recipe."""
    (folder / "run_0").mkdir(parents=True)
    first = make_run(folder / "run_0")
    runs = []
    for number, (wrong, seed, max_epochs) in enumerate(zip(mistakes, seeds, epochs, strict=True)):
        path = folder / f"run_{number}"
        if number:
            shutil.copytree(first.path, path)
        replace(first.recipe, seed=seed, max_epochs=max_epochs).save(path / "recipe.yaml")
        predictions_with_mistakes(wrong).save(path / "predictions.npz")
        runs.append(Run(path))
    return runs
