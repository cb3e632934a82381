"""A run that was interrupted goes on, and ends with the bits of one that never was."""

from __future__ import annotations

import csv
import logging
import math
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from firstlight.cli import main
from firstlight.data.batches import Augmentation
from firstlight.data.lock import locked
from firstlight.data.sources import SOURCES
from firstlight.errors import DataError, RunError, StoppedError
from firstlight.networks import ResNet9Config, SpeedNetConfig
from firstlight.training.callbacks.checkpointing import CheckpointTimes
from firstlight.training.fit import fit
from firstlight.training.recipe import MuonConfig, OptimizerConfig, Recipe
from firstlight.training.resume import resume
from firstlight.training.run import Run
from reference.same_run import differences, events_of
from reference.tiny import tiny_split

ALWAYS = CheckpointTimes(every_s=0.0, share=math.inf)
NEVER = CheckpointTimes(share=0.0)
PLAIN: dict[str, Any] = {"enable_progress_bar": False, "accelerator": "cpu", "log_every_n_steps": 2}
RECIPE = Recipe(
    name="tiny",
    data="tiny",
    num_val=32,
    network=ResNet9Config(width=2),
    augmentation=Augmentation(crop_px=2, flip="random", cutout_px=4),
    optimizer=OptimizerConfig(learning_rate=0.02, schedule="one_cycle"),
    max_epochs=3,
    batch_size=48,  # 48, 48, 48 and 16 images: four steps an epoch
)


class PowerCut(BaseException):
    """Nothing catches it, as nothing catches SIGKILL."""


class CutAt(pl.Callback):
    """Ends the training at the n-th call of a hook, before anything else can be done there."""

    def __init__(self, hook: str, number: int = 1) -> None:
        self.left = number
        setattr(self, hook, self._count)

    def _count(self, *_: Any, **__: Any) -> None:
        self.left -= 1
        if not self.left:
            raise PowerCut


def case(name: str, *values: Any) -> Any:
    """One case of a parametrized test."""
    return pytest.param(*values, id=name)


def slow(name: str, *values: Any) -> Any:
    """Likewise, one that need not run every time."""
    return pytest.param(*values, id=name, marks=pytest.mark.slow)


def begin(logs_dir: Path, cut: CutAt, recipe: Recipe = RECIPE, **options: Any) -> Path:
    """Train until the cut; return the run folder."""
    with pytest.raises(PowerCut):
        fit(recipe, logs_dir=logs_dir, callbacks=[cut], **({"checkpoints": ALWAYS} | PLAIN | options))
    return logs_dir / "tiny" / "version_0"


def go_on(folder: Path, cut: CutAt) -> None:
    with pytest.raises(PowerCut):
        resume(folder, callbacks=[cut], checkpoints=ALWAYS)


def train_whole(logs_dir: Path, **options: Any) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SOURCES, "tiny", lambda data_dir, split: tiny_split(split))
        return fit(RECIPE, logs_dir=logs_dir, checkpoints=NEVER, **(PLAIN | options)).path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never interrupted, and that never wrote a checkpoint."""
    return train_whole(tmp_path_factory.mktemp("whole"), logger="none")


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Likewise, with all that TensorBoard can get."""
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
def test_a_run_cut_again_and_again_ends_with_the_same_bits(
    tiny: str, logged: Path, tmp_path: Path, cuts: list[tuple[str, int]]
) -> None:
    first, *others = [CutAt(*cut) for cut in cuts]
    folder = begin(tmp_path, first, histograms=True)
    for cut in others:
        go_on(folder, cut)
    assert resume(folder, checkpoints=ALWAYS).path == folder
    assert differences(folder, logged) == []
    assert not (folder / "checkpoints").exists()
    assert not [path.name for path in folder.glob(".*")]
    assert len(Run(folder).environment["resumed"]) == len(cuts)


def test_the_csv_loggers_file_goes_on_too(tiny: str, tmp_path: Path) -> None:
    def rows(folder: Path) -> list[dict[str, str]]:
        with (folder / "csv" / "metrics.csv").open(newline="") as stream:
            return list(csv.DictReader(stream))

    expected = train_whole(tmp_path / "whole", logger="csv")
    folder = begin(tmp_path, CutAt("on_train_batch_end", 7), logger="csv")
    go_on(folder, CutAt("on_test_batch_end", 1))
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
def test_the_trainers_options_are_kept_and_change_nothing_of_that(
    tiny: str, tmp_path: Path, options: dict[str, Any], cuts: list[tuple[str, int]]
) -> None:
    expected = fit(RECIPE, logs_dir=tmp_path / "whole", checkpoints=NEVER, logger="none", **(PLAIN | options)).path
    first, *others = [CutAt(*cut) for cut in cuts]
    folder = begin(tmp_path, first, logger="none", **options)
    for cut in others:
        go_on(folder, cut)
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
        slow("constant rate", replace(RECIPE, optimizer=OptimizerConfig("adam", 0.01))),
    ],
)
def test_every_kind_of_recipe_goes_on_with_the_same_bits(tiny: str, tmp_path: Path, recipe: Recipe) -> None:
    expected = fit(recipe, logs_dir=tmp_path / "whole", checkpoints=NEVER, logger="none", **PLAIN).path
    folder = begin(tmp_path, CutAt("on_train_batch_end", 7), recipe, logger="none")
    for cut in (CutAt("on_train_epoch_start", 1), CutAt("on_test_start", 1)):
        go_on(folder, cut)
    newest = Run(folder).checkpoints.newest()
    assert newest is not None
    assert newest.step == 12, "only the test is left"
    resume(folder)
    assert differences(folder, expected) == []


def test_random_numbers_go_on_where_they_were(tiny: str, tmp_path: Path) -> None:
    """firstlight draws none while it trains; but a network may, and here a callback does."""

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


def cut_short(logs_dir: Path, **options: Any) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SOURCES, "tiny", lambda data_dir, split: tiny_split(split))
        return begin(logs_dir, CutAt("on_train_batch_end", 7), **options)


@pytest.fixture(scope="module")
def cut_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was interrupted in its second epoch, with two checkpoints."""
    return cut_short(tmp_path_factory.mktemp("cut"), logger="none")


@pytest.fixture
def cut(cut_run: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may damage."""
    return Path(shutil.copytree(cut_run, tmp_path / "tiny" / "version_0"))


@pytest.mark.parametrize("damage", ["flipped", "cut short", "empty"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_taken(
    tiny: str, whole: Path, cut: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    before, newest = Run(cut).checkpoints.files()
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes({"flipped": content, "cut short": content[:-1], "empty": b""}[damage])
    with caplog.at_level(logging.INFO, "firstlight"):
        resume(cut)
    assert f"{newest} is damaged" in caplog.text
    assert "going on after epoch 1 and step 5" in caplog.text
    assert before.name.startswith("000005-epoch_1-step_5-")
    assert differences(cut, whole) == []


def test_if_all_checkpoints_are_damaged_it_begins_again(tiny: str, whole: Path, cut: Path) -> None:
    for path in Run(cut).checkpoints.files():
        path.write_bytes(path.read_bytes()[:100])
    resume(cut)
    assert Run(cut).environment["resumed"][0]["step"] == 0
    assert differences(cut, whole) == []


def test_what_was_written_after_the_checkpoint_is_cut_off(tiny: str, tmp_path: Path) -> None:
    """Before the first step: the run may be interrupted again, and its curves are looked at all the time."""
    cut = cut_short(tmp_path, histograms=True)
    table, (events,) = cut / "metrics.csv", cut.glob("events.*")
    before = events_of(cut)
    table.write_text(table.read_text() + "1,0.5,0.5,0.5,0.5,0.001,9.9\n")
    with events.open("ab") as stream:
        stream.write(b"half a record")
    (cut / ".results-half.json").write_text("{")
    (cut / "checkpoints" / ".000008-half.ckpt").write_text("half")
    go_on(cut, CutAt("on_train_start"))
    assert [line.split(",")[0] for line in table.read_text().splitlines()] == ["epoch", "0"]
    assert events_of(cut) == before
    assert not [path.name for path in cut.rglob(".*")]


class Bomb:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def test_a_malicious_checkpoint_is_refused_in_one_line_and_never_executed(tiny: str, cut: Path, tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    newest = Run(cut).checkpoints.newest()
    assert newest is not None
    path = Run(cut).checkpoints.write(newest.content | {"loops": Bomb(mark)}, "epoch_9-step_9")
    with pytest.raises(RunError) as refusal:
        resume(cut)
    assert str(path) in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1
    assert not mark.exists()
    torch.load(path, weights_only=False)
    assert mark.exists(), "it was harmless"


def test_a_run_is_trained_by_one_process_at_a_time(tiny: str, cut: Path) -> None:
    with locked(cut / ".lock"), pytest.raises(RunError, match="another process"):
        resume(cut)


def test_other_images_are_refused(tiny: str, cut: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = tiny_split("train")
    changed.images[5, 0, 0, 0] ^= 1
    monkeypatch.setitem(SOURCES, "tiny", lambda data_dir, split: changed)
    with pytest.raises(DataError, match="not those that"):
        resume(cut)


def test_a_recipe_that_was_edited_is_refused(tiny: str, cut: Path) -> None:
    text = (cut / "recipe.yaml").read_text()
    (cut / "recipe.yaml").write_text(text.replace("learning_rate: 0.02", "learning_rate: 0.03"))
    with pytest.raises(RunError, match=r"recipe\.yaml: was changed"):
        resume(cut)


@pytest.mark.parametrize("content", [None, "{", "[]", '{"trainer": 3}'])
def test_damaged_options_are_refused(cut: Path, content: str | None) -> None:
    (cut / "options.json").unlink()
    if content is not None:
        (cut / "options.json").write_text(content)
    with pytest.raises(RunError, match=r"options\.json"):
        resume(cut)


def test_options_that_change_the_run_are_refused_and_the_same_ones_are_not(
    tiny: str, whole: Path, cut: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, says in (
        ("--max_epochs 4", "--max_epochs 4"),
        ("--optimizer.learning_rate 0.1", "begun with 0.02"),
        ("--trainer.precision 64-true", "--trainer.precision"),
        ("--trainer.max_steps 3", "--trainer.max_steps"),
        ("--logger csv", "begun with none"),
        ("--recipe demo", "--recipe demo"),
        ("--fast_dev_run", "--fast_dev_run"),
    ):
        assert main(["fit", "--resume", str(cut), *arguments.split()]) == 2
        printed = capsys.readouterr()
        assert says in printed.err
        assert printed.err.count("\n") == 1
    assert main(["fit", "--resume", str(cut), "--max_epochs", "3", "--trainer.accelerator", "cpu"]) == 0
    assert differences(cut, whole) == []


def test_a_finished_run_says_so(tiny: str, whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert resume(whole).path == whole
    assert main(["fit", "--resume", str(whole)]) == 0
    assert "is finished" in capsys.readouterr().out


def test_a_folder_that_is_no_run_cannot_be_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--resume", str(tmp_path)]) == 2
    assert "is not a run" in capsys.readouterr().err


class SignalAt(CutAt):
    """Sends this process a signal at the n-th call of a hook."""

    def __init__(self, hook: str, number: int, *signals: signal.Signals) -> None:
        super().__init__(hook, number)
        self.signals = signals

    def _count(self, *_: Any, **__: Any) -> None:
        self.left -= 1
        for each in self.signals if not self.left else ():
            os.kill(os.getpid(), each)


@pytest.mark.parametrize(
    ("hook", "number", "signals", "status", "step"),
    [
        case("after a step", "on_train_batch_end", 2, [signal.SIGINT], 130, 2),
        case("in a step", "on_before_optimizer_step", 3, [signal.SIGTERM], 143, 3),
        case("after an epoch", "on_train_epoch_end", 1, [signal.SIGTERM], 143, 4),
        # two batches of the check before the training, then one an epoch: this is the last
        case("in the last validation", "on_validation_batch_end", 4, [signal.SIGINT], 130, 12),
        case("twice", "on_before_zero_grad", 3, [signal.SIGINT, signal.SIGINT], 130, None),
        slow("in the test", "on_test_batch_end", 1, [signal.SIGTERM], 143, None),
        slow("before the first step", "on_sanity_check_start", 1, [signal.SIGINT], 130, None),
    ],
)
def test_a_signal_leaves_a_run_that_goes_on_with_the_same_bits(
    tiny: str,
    whole: Path,
    tmp_path: Path,
    hook: str,
    number: int,
    signals: list[signal.Signals],
    status: int,
    step: int | None,
) -> None:
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    sender = SignalAt(hook, number, *signals)
    with pytest.raises(StoppedError) as stopped:
        fit(RECIPE, logs_dir=tmp_path, callbacks=[sender], checkpoints=NEVER, logger="none", **PLAIN)
    folder = tmp_path / "tiny" / "version_0"
    assert str(stopped.value).endswith(f"firstlight fit --resume {folder}")
    assert stopped.value.exit_status == status
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before
    newest = Run(folder).checkpoints.newest()
    assert (newest.step if newest else None) == step
    resume(folder)
    assert differences(folder, whole) == []
