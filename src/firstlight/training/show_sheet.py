"""Draw the misclassified images of a test, and show them: in a notebook as an output, in a script as a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch import nn

from firstlight.compiled import uncompiled
from firstlight.data.images import ImageSet
from firstlight.errors import UsageError
from firstlight.evaluation.mistakes import MistakeFilter
from firstlight.evaluation.predictions import Predictions
from firstlight.networks import StagedNetwork
from firstlight.plots.figure import Figure, save_figure
from firstlight.reports.explained_mistakes import misclassified_images
from firstlight.training.processes import is_first_process

FILE_NAME = "misclassified.png"


def draw_mistakes(
    network: nn.Module,
    images: ImageSet | None,
    predictions: Predictions | None,
    which: MistakeFilter,
    method: str,
    stage: str | None,
) -> Figure:
    """Draw the chosen mistakes of a test.

    Args:
        network: Tested network, compiled or not.
        images: Test images; None if the batches were not firstlight's.
        predictions: Predictions of the test, perhaps of some images only; None before a test.
        which: Images to draw.
        method: Method of the maps.
        stage: Stage of the maps; the last one by default.

    Raises:
        UsageError: There was no test, its images are not known, or there is no such class, index, method or stage.
    """
    if predictions is None:
        raise UsageError(
            "nothing has been tested yet in this process: call trainer.test(model) first, on one device if the "
            "strategy starts processes of its own (ddp_spawn, ddp_fork, ddp_notebook)"
        )
    if images is None:
        raise UsageError(
            "the last test ran on your own loader, whose images the model does not keep: call trainer.test(model) "
            "without a loader to draw mistakes"
        )
    tested = torch.isin(images.ids, predictions.ids)  # `limit_test_batches` may have left some out
    plain = cast(StagedNetwork, uncompiled(network))
    return misclassified_images(plain, images[tested.nonzero().flatten()], predictions, which, method, stage)


def show_sheet(figure: Figure, run_path: Path | None, trainer: pl.Trainer | None, *, is_default: bool) -> None:
    """Display a figure in a notebook; elsewhere save it and print its path.

    Args:
        figure: Sheet of misclassified images.
        run_path: Run folder to save it in; None takes the current folder.
        trainer: Trainer of the test; with `fast_dev_run`, nothing is saved.
        is_default: Whether this is the sheet that a run keeps as `misclassified.png`. Other choices of images and maps
            get a number, so that they do not replace it.

    Raises:
        WriteError: The file cannot be written.
    """
    notebook = _notebook()
    if notebook is not None:
        _display_once(figure, notebook)
    elif is_first_process() and not getattr(trainer, "fast_dev_run", False):
        folder = run_path or Path()
        path = folder / FILE_NAME if is_default else _unused_path(folder)
        save_figure(figure, path)
        print(f"misclassified images: {path}")


def _notebook() -> Any:
    """Return IPython's shell if this is a notebook; None in a script and in a terminal."""
    if "IPython" not in sys.modules:
        return None
    shell = sys.modules["IPython"].get_ipython()
    return shell if hasattr(shell, "kernel") else None


def _display_once(figure: Figure, shell: Any) -> None:
    """Display a figure now, and let IPython not display it again as the value of the same cell."""
    from IPython.display import display

    shown_in = shell.execution_count

    def display_elsewhere() -> None:
        if shell.execution_count != shown_in:
            display({"image/png": figure._repr_png_()}, raw=True)

    display({"image/png": figure._repr_png_()}, raw=True)
    figure.__dict__["_ipython_display_"] = display_elsewhere


def _unused_path(folder: Path) -> Path:
    number = 1
    while (path := folder / f"misclassified_{number}.png").exists():
        number += 1
    return path
