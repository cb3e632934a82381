"""Paths from user input, and paths as printable text."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from firstlight.data.preprocess import to_pixels
from firstlight.data.source import open_source
from firstlight.errors import RunError
from firstlight.paths import cache_dir, printable, user_path
from firstlight.recipes.config import Recipe
from firstlight.runs.pretrained import Pretrained
from firstlight.runs.run import latest_run, load
from firstlight.training.data_module import ImageData


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def test_a_leading_tilde_is_the_home_folder_and_others_are_kept(home: Path) -> None:
    assert user_path("~/a") == user_path(Path("~/a")) == home / "a"
    assert user_path("~") == home
    assert user_path("./~/a") == Path("~/a")
    kept = ["a/~/b", "~nobody_here/a", "$HOME/a"]
    assert [user_path(name) for name in kept] == [Path(name) for name in kept]


def test_every_function_that_takes_a_path_expands_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(home / "a.png")
    assert int(to_pixels("~/a.png", (4, 4)).min()) == 90
    assert open_source("cifar10", "~/data").data_dir == home / "data"
    assert ImageData(Recipe(data="drawn"), "~/data").data_dir == home / "data"
    for open_run in (load, latest_run, Pretrained):
        with pytest.raises(RunError):
            open_run("~/missing")
    monkeypatch.setenv("FIRSTLIGHT_CACHE", "~/cache")
    assert cache_dir() == home / "cache"
    monkeypatch.delenv("FIRSTLIGHT_CACHE")
    for named, folder in (("relative", ".cache"), ("", ".cache"), (str(home / "mine"), "mine")):
        monkeypatch.setenv("XDG_CACHE_HOME", named)
        assert cache_dir() == home / folder / "firstlight", "a relative path is ignored, as the standard says"
    (home / "run").mkdir()
    Recipe().save(home / "run" / "recipe.yaml")
    assert load("~/run").path == home / "run"


def test_unprintable_names_become_printable_text() -> None:
    name = os.fsdecode(b"caf\xe9\n.jpg")
    assert printable(name) == "caf\ufffd\ufffd.jpg"
    assert printable(Path("猫.jpg")) == "猫.jpg"
    assert printable("lone \ud800") == "lone \ufffd"
