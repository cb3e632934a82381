"""Bundles of runs on the user's own images: calibrated on their val folder, and with their file names."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest
import torch

import firstlight
from firstlight.app.panels import mistakes_panel
from firstlight.app.service import Service
from firstlight.data.images import ImageSet
from firstlight.evaluation.calibration import calibrate
from firstlight.export.build_bundle import build_bundle
from firstlight.export.bundle import Bundle
from firstlight.networks import ResNet9Config
from firstlight.recipes.config import Recipe
from firstlight.runs.run import Run
from firstlight.training.data_module import ImageData
from firstlight.training.retest import retest
from reference.photo_folders import make_folder, save_photo

COUNTS = {"train/red": 12, "train/blue": 12, "val/red": 9, "val/blue": 9, "test/red": 6, "test/blue": 6}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run on photographs in train, val and test; one red test photograph lies in the wrong folder."""
    place = tmp_path_factory.mktemp("photos")
    root = make_folder(place / "photos", COUNTS)
    save_photo(root / "test" / "blue" / "sunset <1>.png", (200, 40, 40), seed=77)
    recipe = Recipe(name="small", network=ResNet9Config(width=4), max_epochs=3)
    options = {"logger": "none", "enable_progress_bar": False, "accelerator": "cpu"}
    return firstlight.fit(recipe, root, place / "logs", **options)


@pytest.fixture(scope="module")
def bundle(trained: Run, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return build_bundle(trained, tmp_path_factory.mktemp("bundle"))


def loaded(run: Run) -> ImageData:
    data = ImageData(run.recipe, run.data["place"])
    data.setup("fit")
    data.setup("test")
    return data


def uncalibrated(run: Run, folder: Path, images: ImageSet) -> Run:
    """A copy of the run as an older version left it."""
    older = Run(shutil.copytree(run.path, folder))
    older.save_weights(older.network, images)
    assert older.calibration is None
    return Run(folder)


def test_the_own_val_folder_calibrates_a_run_and_its_bundle(trained: Run, bundle: Bundle, tmp_path: Path) -> None:
    data = loaded(trained)
    assert trained.recipe.num_val == 0
    older = uncalibrated(trained, tmp_path / "older", data.test)
    measured = build_bundle(older, tmp_path / "measured")
    with torch.no_grad():
        expected = calibrate(measured.network(data.val.images / 255), data.val.labels)
    assert measured.temperature == pytest.approx(expected.temperature, rel=1e-3)
    assert measured.measured["calibration"]["num_validation_images"] == 18
    assert (bundle.temperature, bundle.novelty_threshold) == (trained.temperature, trained.novelty_threshold)


def test_testing_an_older_run_calibrates_it(trained: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = loaded(trained)
    older = uncalibrated(trained, tmp_path / "older", data.test)
    before = {name: weight.clone() for name, weight in older.network.state_dict().items()}
    metrics = retest(older, enable_progress_bar=False, accelerator="cpu")
    assert older.calibration is not None
    assert older.calibration == Run(older.path).calibration
    assert older.calibration.num_images == 18
    assert older.temperature == pytest.approx(trained.temperature, rel=1e-3)
    assert metrics["test_acc"] == pytest.approx(trained.results["test_acc"])
    assert all(weight.equal(before[name]) for name, weight in Run(older.path).network.state_dict().items())


def test_images_other_than_those_of_the_training_calibrate_nothing(
    trained: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = loaded(trained)
    older = uncalibrated(trained, tmp_path / "older", data.test)
    other = Path(shutil.copytree(trained.data["place"], tmp_path / "other"))
    (other / "val" / "red" / "000.png").unlink()
    with caplog.at_level(logging.INFO, "firstlight"):
        retest(older, other, enable_progress_bar=False, accelerator="cpu")
    assert Run(older.path).calibration is None
    assert "stays uncalibrated" in caplog.text


def test_the_app_names_the_files_that_are_misclassified(trained: Run, bundle: Bundle) -> None:
    test = loaded(trained).test
    assert test.file_names is not None
    wrong = [
        row
        for row, image in enumerate(test.images)
        if test.class_names.index(bundle.predict(image).label) != int(test.labels[row])
    ]
    page = Service(bundle).mistakes()
    assert {item.mistake.file_name for item in page.items} == {test.file_names[row] for row in wrong}
    assert "sunset &lt;1&gt;.png" in mistakes_panel(page, len(test))
