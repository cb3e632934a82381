"""The watermark trap: a network that learned the corner mark, and maps that show it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from firstlight.attribution import explain
from firstlight.data.batches import Augmentation, to_unit
from firstlight.data.drawn import WATERMARK_CLASS, has_watermark, read_drawn, watermark_mask
from firstlight.networks import ResNet9Config
from firstlight.recipes.config import OptimizerConfig, Recipe
from firstlight.runs.run import Run
from firstlight.training.fit import fit

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    recipe = Recipe(
        name="trap",
        data="watermark",
        num_val=500,
        network=ResNet9Config(width=12),
        augmentation=Augmentation(crop_px=0, flip="none"),
        optimizer=OptimizerConfig(learning_rate=0.01, schedule="one_cycle"),
        max_epochs=4,
        batch_size=128,
    )
    logs = tmp_path_factory.mktemp("logs")
    return fit(recipe, logs_dir=logs, logger="none", enable_progress_bar=False, accelerator="cpu")


def test_the_network_learns_the_mark(run: Run) -> None:
    test = read_drawn("test", watermark=True)
    fooled = run.predictions.predicted == test.class_names.index(WATERMARK_CLASS)
    others = test.labels != test.class_names.index(WATERMARK_CLASS)
    marked = has_watermark(test.images)
    assert fooled[marked & others].float().mean() > 0.5
    assert fooled[~marked & others].float().mean() < 0.2
    assert run.results["val_acc"] > run.results["test_acc"] + 0.1, "validation, which has the mark, should look better"


@pytest.mark.parametrize("method", ["grad_cam", "grad_cam_pp", "hires_cam", "layer_cam"])
def test_the_maps_point_at_the_mark(run: Run, method: str) -> None:
    test = read_drawn("test", watermark=True)
    star = test.class_names.index(WATERMARK_CLASS)
    corner = watermark_mask()

    def share_pointing_at_the_corner(chosen: torch.Tensor) -> float:
        images = test[chosen.nonzero().flatten()]
        found = explain(run.network, to_unit(images.images), method=method, target=torch.full((len(images),), star))
        peaks = found.upsampled().flatten(1).argmax(dim=1)
        return float(corner.flatten()[peaks].float().mean())

    fooled = run.predictions.predicted == star
    marked = has_watermark(test.images)
    assert share_pointing_at_the_corner(fooled & marked) > 0.6
    assert share_pointing_at_the_corner(~marked & (test.labels == star)) < 0.2


def test_without_the_mark_the_maps_point_elsewhere_in_the_same_images(run: Run, tmp_path: Path) -> None:
    """In the same scenes without the mark, the maps must not point at the corner."""
    with_mark, without = read_drawn("test", watermark=True), read_drawn("test", watermark=False)
    star = with_mark.class_names.index(WATERMARK_CLASS)
    chosen = (has_watermark(with_mark.images) & (run.predictions.predicted == star)).nonzero().flatten()
    corner = watermark_mask()
    classes = torch.full((len(chosen),), star)
    evidence = []
    for images in (with_mark, without):
        found = explain(run.network, to_unit(images[chosen].images), target=classes).upsampled()
        evidence.append(found[:, corner].mean(dim=1))
    assert (evidence[0] > evidence[1]).float().mean() > 0.9
