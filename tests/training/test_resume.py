"""An interrupted run is resumed and ends with the bits of an uninterrupted one."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from firstlight.networks import SpeedNetConfig
from firstlight.recipes.config import MuonConfig, OptimizerConfig, Recipe
from firstlight.runs.run import Run
from firstlight.training.fit import fit
from firstlight.training.resume import resume
from reference.interrupted import (
    ALWAYS,
    NEVER,
    PLAIN,
    RECIPE,
    CutAt,
    PowerCut,
    begin,
    case,
    cut_short,
    resume_interrupted,
    slow,
    train_whole,
)
from reference.same_run import differences, events_of


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run with all of TensorBoard's logs."""
    return train_whole(tmp_path_factory.mktemp("logged"), histograms=True)


@pytest.mark.parametrize(
    "cuts",
    [
        [
            ("on_before_optimizer_step", 1),
            ("on_train_batch_end", 2),
            ("on_train_batch_end", 2),
            ("on_train_epoch_end", 1),
        ],
        [("on_train_epoch_start", 3), ("on_before_zero_grad", 2), ("on_train_end", 1), ("on_test_batch_end", 1)],
        [("on_validation_batch_end", 2), ("on_train_batch_end", 4), ("on_validation_end", 1), ("on_test_end", 1)],
    ],
    ids=["in steps", "between epochs", "in evaluations"],
)
def test_a_run_that_is_interrupted_repeatedly_ends_with_the_same_bits(
    tiny: str, logged: Path, tmp_path: Path, cuts: list[tuple[str, int]]
) -> None:
    first, *others = [CutAt(*cut) for cut in cuts]
    folder = begin(tmp_path, first, histograms=True)
    for cut in others:
        resume_interrupted(folder, cut)
    assert resume(folder, checkpoints=ALWAYS).path == folder
    assert differences(folder, logged) == []
    assert not (folder / "checkpoints").exists()
    assert not [path.name for path in folder.glob(".*")]
    assert len(Run(folder).environment["resumed"]) == len(cuts)


def test_the_file_of_the_csv_logger_is_continued(tiny: str, tmp_path: Path) -> None:
    def rows(folder: Path) -> list[dict[str, str]]:
        with (folder / "csv" / "metrics.csv").open(newline="") as stream:
            return list(csv.DictReader(stream))

    expected = train_whole(tmp_path / "whole", logger="csv")
    folder = begin(tmp_path, CutAt("on_train_batch_end", 7), logger="csv")
    resume_interrupted(folder, CutAt("on_test_batch_end", 1))
    resume(folder)
    assert rows(folder) == rows(expected)
    assert len(rows(folder)) > 12


@pytest.mark.parametrize(
    ("options", "cuts"),
    [
        case("max_steps", {"max_steps": 7}, [("on_train_batch_end", 3), ("on_train_batch_end", 3)]),
        case(
            "limited",
            {"limit_train_batches": 3, "check_val_every_n_epoch": 2},
            [("on_train_batch_end", 2), ("on_train_batch_end", 6)],
        ),
        slow("accumulating", {"accumulate_grad_batches": 2}, [("on_train_batch_end", 4), ("on_train_epoch_start", 1)]),
        slow("validating within", {"val_check_interval": 0.5}, [("on_train_batch_end", 2), ("on_train_batch_end", 5)]),
        slow("one step an epoch", {"limit_train_batches": 1, "gradient_clip_val": 0.5}, [("on_train_batch_end", 2)]),
    ],
)
def test_the_trainers_options_are_stored_and_used_again(
    tiny: str, tmp_path: Path, options: dict[str, Any], cuts: list[tuple[str, int]]
) -> None:
    expected = fit(RECIPE, logs_dir=tmp_path / "whole", checkpoints=NEVER, logger="none", **(PLAIN | options)).path
    first, *others = [CutAt(*cut) for cut in cuts]
    folder = begin(tmp_path, first, logger="none", **options)
    for cut in others:
        resume_interrupted(folder, cut)
    assert Run(folder).checkpoints.files(), "it would begin again, and prove nothing"
    resume(folder)
    assert differences(folder, expected) == []


@pytest.mark.parametrize(
    "recipe",
    [
        case(
            "averaged weights",
            replace(RECIPE, averaging=0.9, optimizer=OptimizerConfig("sgd", 0.1, head_rate=0.1, schedule="one_cycle")),
        ),
        case("muon", replace(RECIPE, network=SpeedNetConfig(width=4), optimizer=MuonConfig(), views="flip_shift")),
        case("the hardest images", replace(RECIPE, hardest_share=0.4, gradient_share=0.6)),
        slow("constant rate", replace(RECIPE, optimizer=OptimizerConfig("adam", 0.01))),
    ],
)
def test_every_kind_of_recipe_resumes_with_the_same_bits(tiny: str, tmp_path: Path, recipe: Recipe) -> None:
    expected = fit(recipe, logs_dir=tmp_path / "whole", checkpoints=NEVER, logger="none", **PLAIN).path
    folder = begin(tmp_path, CutAt("on_train_batch_end", 7), recipe, logger="none")
    for cut in (CutAt("on_train_epoch_start", 1), CutAt("on_test_start", 1)):
        resume_interrupted(folder, cut)
    newest = Run(folder).checkpoints.newest()
    assert newest is not None
    assert newest.step == 12, "only the test is left"
    resume(folder)
    assert differences(folder, expected) == []


def test_random_numbers_continue_after_a_resume(tiny: str, tmp_path: Path) -> None:
    """firstlight draws no random numbers during a training, but a network may; here a callback does."""

    class Noise(pl.Callback):
        def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None:
            for each in pl_module.parameters():
                each.grad.mul_(1 + 0.1 * torch.randn_like(each.grad))

    recipe = replace(RECIPE, max_epochs=1)
    expected = fit(recipe, logs_dir=tmp_path / "whole", callbacks=[Noise()], logger="none", **PLAIN).path
    callbacks = [Noise(), CutAt("on_train_batch_end", 2)]
    with pytest.raises(PowerCut):
        fit(recipe, logs_dir=tmp_path, callbacks=callbacks, checkpoints=ALWAYS, logger="none", **PLAIN)
    folder = tmp_path / "tiny" / "version_0"
    resume(folder, callbacks=[Noise()])
    assert differences(folder, expected) == []


def test_entries_after_the_checkpoint_are_removed(tiny: str, tmp_path: Path) -> None:
    """They are removed before the first step, because the run may be interrupted again and users watch the curves."""
    cut = cut_short(tmp_path, histograms=True)
    table, (events,) = cut / "metrics.csv", cut.glob("events.*")
    before = events_of(cut)
    table.write_text(table.read_text() + "1,0.5,0.5,0.5,0.5,0.001,9.9\n")
    with events.open("ab") as stream:
        stream.write(b"half a record")
    (cut / ".results-half_one.json").write_text("{")
    (cut / "checkpoints" / ".000008-half_one.ckpt").write_text("half")
    (tmp_path / "other").mkdir()
    victims = [tmp_path / "other" / "file", cut / ".gitignore"]
    for each in victims:
        each.write_text("the user's own")
    (cut / "events.out.tfevents.link").symlink_to(victims[0])
    resume_interrupted(cut, CutAt("on_train_start"))
    assert [each.read_text() for each in victims] == ["the user's own"] * 2, "only own files are cut and removed"
    victims[1].unlink()
    assert [line.split(",")[0] for line in table.read_text().splitlines()] == ["epoch", "0"]
    assert events_of(cut) == before
    assert not [path.name for path in cut.rglob(".*")]
