"""Testing a run on other labelled images: classes by name, results in a separate folder, the run unchanged."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from firstlight.data.images import ImageSet
from firstlight.data.source import SOURCES
from firstlight.errors import DataError, UsageError
from firstlight.evaluation.predictions import Predictions
from firstlight.runs.run import Run
from firstlight.training.external_test import external_test, is_own_test
from reference.made_run import make_run, say
from reference.photo_folders import make_folder
from reference.tiny import CLASS_NAMES, tiny_split

QUIET = {"enable_progress_bar": False, "accelerator": "cpu", "precision": "32-true"}
COUNTS = {"red": 5, "blue": 4, "green": 1}  # in alphabetical order blue, green, red: not the run's order


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture
def run(made: Run, tmp_path: Path, tiny: str) -> Run:
    return Run(shutil.copytree(made.path, tmp_path / "run"))


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def reversed_classes(images: ImageSet) -> ImageSet:
    """The same images, with the classes numbered the other way round."""
    last = len(images.class_names) - 1
    return replace(images, labels=last - images.labels, class_names=images.class_names[::-1])


def test_a_folder_is_measured_whole_and_the_run_stays_as_it_was(run: Run, tmp_path: Path) -> None:
    root = make_folder(tmp_path / "photos", COUNTS)
    before = content(run.path)
    found = external_test(run, root, "folder", **QUIET)
    assert found.path == run.path / "tests" / "photos"
    assert content(run.path) == before
    assert set(content(found.path)) >= {"results.json", "predictions.npz", "environment.json", "confusion.csv"}
    predictions = Predictions.load(found.path / "predictions.npz")
    names = [CLASS_NAMES[label] for label in predictions.labels.tolist()]
    assert {name: names.count(name) for name in COUNTS} == COUNTS
    assert [Path(file).parent.name for file in predictions.file_names or ()] == names, "labels by the class's name"
    assert json.loads((found.path / "results.json").read_text()) == found.results
    assert found.results["test_acc"] == predictions.accuracy
    assert [row["support"] for row in found.results["classes"]] == [5, 1, 4, 0]


def test_classes_in_another_order_give_the_same_predictions(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOURCES, "mirror", lambda _, split: reversed_classes(tiny_split(split)))
    found = external_test(run, data="mirror", **QUIET)
    plain = say(run.network, tiny_split("test"))
    predictions = Predictions.load(found.path / "predictions.npz")
    torch.testing.assert_close(predictions.logits, plain.logits)
    assert predictions.labels.equal(plain.labels)
    assert found.results["test_acc"] == plain.accuracy


def test_a_class_that_the_run_does_not_know_is_refused(run: Run, tmp_path: Path) -> None:
    root = make_folder(tmp_path / "photos", {"red": 3, "purple": 3})
    with pytest.raises(
        DataError, match=r"the class 'purple', which the network does not know. Its classes are red, gr"
    ):
        external_test(run, root, "folder", **QUIET)
    assert not (run.path / "tests").exists()


def test_images_of_the_training_are_reported(run: Run, monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    train = tiny_split("train")
    monkeypatch.setitem(SOURCES, "other", lambda _, split: train[torch.arange(7)] if split == "test" else train)
    with caplog.at_level(logging.WARNING, "firstlight"):
        external_test(run, data="other", **QUIET)
    assert "7 of 7 images have the pixels of an image that the run was trained" in caplog.text


def test_a_second_data_set_of_the_same_name_gets_its_own_folder_and_a_repetition_replaces_the_first(
    run: Run, tmp_path: Path
) -> None:
    roots = [make_folder(tmp_path / name / "photos", {"red": 3, "blue": count}) for name, count in (("a", 3), ("b", 4))]
    first, second, again = (external_test(run, root, "folder", **QUIET).path for root in (*roots, roots[0]))
    assert first == again != second
    assert second.name.startswith("photos-")
    assert sorted(path.name for path in first.parent.iterdir()) == sorted([first.name, second.name])


def test_a_path_is_used_unless_it_holds_other_files(run: Run, tmp_path: Path) -> None:
    root = make_folder(tmp_path / "photos", COUNTS)
    out = tmp_path / "mine"
    for _ in range(2):  # its own results are replaced
        assert external_test(run, root, "folder", out=out, **QUIET).path == out
    for path in (root, run.path):
        with pytest.raises(UsageError, match="holds other files"):
            external_test(run, root, "folder", out=path, **QUIET)


def test_the_runs_own_data_are_recognized(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_folder(tmp_path / "photos", COUNTS)
    monkeypatch.setitem(SOURCES, "other", lambda _, split: tiny_split(split))
    assert is_own_test(run)
    assert is_own_test(run, data="tiny")
    assert not is_own_test(run, data="other"), "another name"
    assert not is_own_test(run, root, "folder")
    moved = tmp_path / "moved"
    moved.mkdir()
    assert is_own_test(run, moved), "the same pixels in another folder"
    monkeypatch.setitem(SOURCES, "tiny", lambda place, split: tiny_split(split)[slice(0, 80 if place == moved else 83)])
    assert not is_own_test(run, moved), "other pixels in another folder"


def test_a_folder_of_classes_replaces_the_data_set_that_the_user_did_not_name(run: Run, tmp_path: Path) -> None:
    root = make_folder(tmp_path / "photos", COUNTS)
    for name in ("cifar10", "drawn"):
        replace(run.recipe, data=name).save(run.path / "recipe.yaml")
        assert external_test(Run(run.path), root, **QUIET).data_name == "photos"
