"""What a resume refuses, and how it handles damaged checkpoints."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from firstlight.cli import main
from firstlight.data.source import SOURCES
from firstlight.errors import DataError, RunError
from firstlight.file_lock import locked
from firstlight.runs.run import Run
from firstlight.training.processes import NODE_VARIABLES
from firstlight.training.resume import resume
from reference.interrupted import cut_short, train_whole
from reference.same_run import differences
from reference.tiny import tiny_split


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never interrupted and never wrote a checkpoint."""
    return train_whole(tmp_path_factory.mktemp("whole"), logger="none")


@pytest.fixture(scope="module")
def cut_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with two checkpoints that was interrupted in its second epoch."""
    return cut_short(tmp_path_factory.mktemp("cut"), logger="none")


@pytest.fixture
def cut(cut_run: Path, tmp_path: Path) -> Path:
    """A copy of the run that a test may change."""
    return Path(shutil.copytree(cut_run, tmp_path / "tiny" / "version_0"))


@pytest.mark.parametrize("damage", ["flipped", "cut short", "empty"])
def test_a_damaged_checkpoint_is_named_and_the_previous_one_used(
    tiny: str, whole: Path, cut: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    before, newest = Run(cut).checkpoints.files()
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes({"flipped": content, "cut short": content[:-1], "empty": b""}[damage])
    with caplog.at_level(logging.INFO, "firstlight"):
        resume(cut)
    assert f"{newest} is damaged" in caplog.text
    assert "resuming after epoch 1 and step 5" in caplog.text
    assert before.name.startswith("000005-epoch_1-step_5-")
    assert differences(cut, whole) == []


def test_if_all_checkpoints_are_damaged_the_run_starts_again(tiny: str, whole: Path, cut: Path) -> None:
    for path in Run(cut).checkpoints.files():
        path.write_bytes(path.read_bytes()[:100])
    resume(cut)
    assert Run(cut).environment["resumed"][0]["step"] == 0
    assert differences(cut, whole) == []


class Bomb:
    """An object whose unpickling creates a file."""

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


def test_an_edited_recipe_is_refused(tiny: str, cut: Path) -> None:
    text = (cut / "recipe.yaml").read_text()
    (cut / "recipe.yaml").write_text(text.replace("learning_rate: 0.02", "learning_rate: 0.03"))
    with pytest.raises(RunError, match=r"recipe\.yaml was changed"):
        resume(cut)


@pytest.mark.parametrize("content", [None, "{", "[]", '{"trainer": 3}'])
def test_damaged_options_are_refused(cut: Path, content: str | None) -> None:
    (cut / "options.json").unlink()
    if content is not None:
        (cut / "options.json").write_text(content)
    with pytest.raises(RunError, match=r"options\.json"):
        resume(cut)


def test_a_run_of_three_machines_is_not_resumed_on_one_and_stays_unchanged(
    tiny: str, cut: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in NODE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    options = json.loads((cut / "options.json").read_text())
    (cut / "options.json").write_text(json.dumps(options | {"trainer": options["trainer"] | {"num_nodes": 3}}))
    before = {path: path.read_bytes() for path in cut.rglob("*") if path.is_file()}
    assert main(["fit", "--resume", str(cut)]) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert "runs on 3 machines (num_nodes), and only this one is known" in printed
    assert {path: path.read_bytes() for path in cut.rglob("*") if path.is_file()} == before


def test_changed_options_are_refused_and_repeated_ones_accepted(
    tiny: str, whole: Path, cut: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, says in (
        ("--max_epochs 4", "--max_epochs 4"),
        ("--optimizer.learning_rate 0.1", "was started with 0.02"),
        ("--trainer.precision 64-true", "--trainer.precision"),
        ("--trainer.max_steps 3", "--trainer.max_steps"),
        ("--logger csv", "was started with none"),
        ("--recipe demo", "--recipe demo"),
        ("--fast_dev_run", "--fast_dev_run"),
    ):
        assert main(["fit", "--resume", str(cut), *arguments.split()]) == 2
        printed = capsys.readouterr()
        assert says in printed.err
        assert printed.err.count("\n") == 1
    assert main(["fit", "--resume", str(cut), "--max_epochs", "3", "--trainer.accelerator", "cpu"]) == 0
    assert differences(cut, whole) == []


def test_resuming_a_finished_run_reports_that_it_is_finished(
    tiny: str, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert resume(whole).path == whole
    assert main(["fit", "--resume", str(whole)]) == 0
    assert "is finished" in capsys.readouterr().out


def test_a_folder_that_is_no_run_cannot_be_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--resume", str(tmp_path)]) == 2
    assert "is not a run" in capsys.readouterr().err
