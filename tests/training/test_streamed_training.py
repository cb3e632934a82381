"""Images that are read from their file batch by batch train to the bits of images in memory."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

import firstlight
from firstlight.data.mapped_images import MappedImages
from firstlight.networks import ResNet9Config
from firstlight.recipes import get_recipe
from firstlight.recipes.config import Recipe
from firstlight.training.data_module import ImageData
from firstlight.training.retest import retest
from reference.photo_folders import make_folder
from reference.same_run import differences

SMALL = Recipe(name="small", network=ResNet9Config(width=2), max_epochs=2)
QUIET = {"logger": "none", "enable_progress_bar": False, "accelerator": "cpu"}


@pytest.fixture
def forbid_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    load = MappedImages.load

    def check(self: MappedImages, what: str = "the images") -> object:
        assert len(self) <= 32 or os.environ["FIRSTLIGHT_IMAGE_MEMORY_GB"] != "0", (
            f"{len(self)} images of {what} are loaded"
        )
        return load(self, what)

    monkeypatch.setattr(MappedImages, "load", check)


@pytest.mark.usefixtures("forbid_loading")
@pytest.mark.parametrize(
    "recipe",
    [
        "hardest images",
        pytest.param("plain", marks=pytest.mark.slow),
        pytest.param("whitening", marks=pytest.mark.slow),
    ],
)
def test_both_train_and_test_to_the_same_bits(tmp_path: Path, recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRSTLIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("firstlight.training.initialization.NUM_INIT_IMAGES", 32)
    photos = make_folder(tmp_path / "photos", {"red": 30, "green": 30, "blue": 30})
    chosen = {
        "plain": SMALL,
        "hardest images": replace(SMALL, hardest_share=0.5),
        "whitening": replace(get_recipe("fast94"), name="small", max_epochs=1),
    }[recipe]
    runs = []
    for gigabytes in ("1", "0"):
        monkeypatch.setenv("FIRSTLIGHT_IMAGE_MEMORY_GB", gigabytes)
        data = ImageData(chosen, photos)
        if gigabytes == "0":
            data.setup()
            assert {type(each.pixels) for each in (data.train, data.val, data.test)} == {MappedImages}
            assert len(data.train) > 32
        runs.append(firstlight.fit(chosen, photos, tmp_path / gigabytes, **QUIET))
    resident, streamed = runs
    assert differences(resident.path, streamed.path) == []
    assert streamed.data["digests"] == resident.data["digests"]
    again = retest(streamed, accelerator="cpu", enable_progress_bar=False)
    assert again["test_acc"] == streamed.results["test_acc"]
