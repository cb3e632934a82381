"""Testing a finished run again: its data, and the warning for other images."""

from __future__ import annotations

import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from firstlight.data.images import ImageSet
from firstlight.data.source import SOURCES
from firstlight.evaluation.predictions import Predictions
from firstlight.runs.run import Run
from firstlight.training.retest import load_test_images, retest
from reference.made_run import make_run
from reference.tiny import tiny_split

QUIET = {"enable_progress_bar": False, "accelerator": "cpu", "precision": "32-true"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture
def run(made: Run, tmp_path: Path) -> Run:
    return Run(shutil.copytree(made.path, tmp_path / "run"))


def changed(images: ImageSet) -> ImageSet:
    """Return the images with one changed value in the last image."""
    pixels = images.images.clone()
    pixels[-1, 0, 0, 0] = 255 - pixels[-1, 0, 0, 0]
    return replace(images, images=pixels)


def test_the_test_equals_a_plain_pass_over_the_images(tiny: str, run: Run) -> None:
    plain = run.predictions
    (run.path / "predictions.npz").unlink()
    metrics = retest(run, **QUIET)
    assert metrics["test_acc"] == pytest.approx(plain.accuracy, abs=1e-6)
    assert metrics["test_loss"] == pytest.approx(
        float(torch.nn.functional.cross_entropy(plain.logits, plain.labels)), rel=1e-5
    )
    again = Predictions.load(run.path / "predictions.npz")
    torch.testing.assert_close(again.logits, plain.logits)
    torch.testing.assert_close(again.features, plain.features)
    assert torch.equal(again.ids, plain.ids)


def test_a_changed_pixel_causes_a_warning_and_the_same_data_none(
    tiny: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_test_images(run)
    monkeypatch.setitem(SOURCES, "tiny", lambda _, split: changed(tiny_split(split)))
    with pytest.warns(UserWarning, match="are not the ones that .* was tested on"):
        data = load_test_images(run)
    assert len(data.test) == 83, "they are used all the same"


def test_the_data_are_searched_at_their_recorded_path_or_at_data_dir(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[Path] = []
    monkeypatch.setitem(SOURCES, "tiny", lambda place, split: asked.append(place) or tiny_split(split))
    load_test_images(run)
    load_test_images(run, tmp_path / "moved")
    assert asked == [Path(run.environment["data"]["place"]), tmp_path / "moved"]
