"""The plan of a training says what the training then does."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

import pytest

import firstlight
from firstlight.errors import UsageError
from firstlight.networks import ResNet9Config
from firstlight.recipes.config import Recipe
from firstlight.training.plan import plan_fit

RECIPE = Recipe(name="small", data="tiny", num_val=32, network=ResNet9Config(width=2), max_epochs=2, batch_size=64)
OPTIONS = {"accelerator": "cpu", "enable_progress_bar": False}


@pytest.mark.parametrize("logger", ["tensorboard", "csv", "none"])
def test_the_plan_names_what_fit_then_makes(tiny: str, tmp_path: Path, logger: str) -> None:
    plan = plan_fit(RECIPE, tmp_path, tmp_path / "logs", logger=logger, **OPTIONS)
    assert not (tmp_path / "logs").exists(), "a plan writes nothing"
    run = firstlight.fit(RECIPE, tmp_path, tmp_path / "logs", logger=logger, **OPTIONS)
    assert run.path == plan.folder
    files = [path.name for path in run.path.iterdir()]
    assert not [name for name in files if not any(fnmatch(name, each) for each in plan.files)], "a file is not named"
    assert not [each for each in plan.files if not any(fnmatch(name, each) for name in files)], "a file is missing"
    assert plan.num_steps == 2 * 3, "160 images in batches of 64"
    assert plan.num_parameters == sum(each.numel() for each in run.network.parameters())
    assert plan_fit(RECIPE, tmp_path, tmp_path / "logs", **OPTIONS).folder.name == "version_1"


def test_each_process_has_its_share_of_a_batch(tiny: str, tmp_path: Path) -> None:
    several = {"devices": 3, "strategy": "ddp"} | OPTIONS
    plan = plan_fit(RECIPE, tmp_path, tmp_path / "logs", limit_train_batches=0.5, **several)
    assert plan.num_processes == 3
    assert plan.batch_sizes == (22, 21, 21)
    assert plan.steps_per_epoch == 1
    assert plan.estimate is None


def test_a_wrong_argument_is_refused_as_by_fit(tiny: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Lightning's Trainer"):
        plan_fit(RECIPE, tmp_path, tmp_path / "logs", **(OPTIONS | {"precision": "12"}))
