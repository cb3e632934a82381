"""`show_misclassified_images()` saves a file and prints its path in a script, and is displayed once in a notebook."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from PIL import Image

import firstlight
from firstlight.networks import ResNet9Config

QUIET: dict[str, object] = {"enable_progress_bar": False, "enable_checkpointing": False}


@pytest.fixture
def model(tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> firstlight.CustomResNet:
    monkeypatch.chdir(tmp_path)
    return firstlight.CustomResNet(num_classes=4, data=tiny, num_val=32, network=ResNet9Config(width=2))


@pytest.fixture
def notebook() -> Iterator[Any]:
    """The IPython shell of a notebook, with a kernel."""
    shell = InteractiveShell.instance()
    shell.kernel = object()
    yield shell
    InteractiveShell.clear_instance()


def test_in_a_script_the_sheet_is_saved_in_the_run_folder(
    model: firstlight.CustomResNet, capsys: pytest.CaptureFixture[str]
) -> None:
    firstlight.Trainer(**QUIET).test(model, verbose=False)
    path = Path("logs/exercise/version_0/misclassified.png")
    path.unlink()
    capsys.readouterr()
    model.show_misclassified_images()
    assert capsys.readouterr().out == f"misclassified images: {path}\n"
    drawn = io.BytesIO(model.draw_misclassified_images()._repr_png_())
    with Image.open(path) as image, Image.open(drawn) as expected:
        np.testing.assert_array_equal(np.asarray(image), np.asarray(expected))
    before = path.read_bytes()
    for number in (1, 2):
        model.show_misclassified_images(count=number)
        assert (path.parent / f"misclassified_{number}.png").is_file()
    assert path.read_bytes() == before


@pytest.mark.parametrize("kind", [firstlight.Trainer, pl.Trainer])
def test_without_a_run_the_sheet_is_saved_in_the_current_folder(
    model: firstlight.CustomResNet, kind: type[pl.Trainer], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kind(logger=False, **QUIET).test(model, verbose=False)
    model.show_misclassified_images()
    assert [path.name for path in tmp_path.iterdir()] == ["misclassified.png"]
    assert "misclassified images: misclassified.png\n" in capsys.readouterr().out


def test_a_run_whose_images_were_not_tested_last_keeps_its_sheet(model: firstlight.CustomResNet) -> None:
    firstlight.Trainer(**QUIET).test(model, verbose=False)
    before = Path("logs/exercise/version_0/misclassified.png").read_bytes()
    model.data.test = model.data.test[:20]
    firstlight.Trainer(logger=False, **QUIET).test(model, verbose=False)
    model.show_misclassified_images()
    assert Path("logs/exercise/version_0/misclassified.png").read_bytes() == before
    assert Path("misclassified.png").is_file()


def test_fast_dev_run_saves_nothing(model: firstlight.CustomResNet, tmp_path: Path) -> None:
    firstlight.Trainer(fast_dev_run=True, **QUIET).test(model, verbose=False)
    model.show_misclassified_images()
    assert list(tmp_path.iterdir()) == []


def test_in_a_notebook_the_sheet_is_displayed_once_and_nothing_is_saved(
    model: firstlight.CustomResNet, tmp_path: Path, notebook: Any
) -> None:
    firstlight.Trainer(logger=False, **QUIET).test(model, verbose=False)
    notebook.user_ns["model"] = model
    for cell in ("figure = model.show_misclassified_images()", "model.show_misclassified_images()", "figure"):
        with capture_output() as captured:
            assert notebook.run_cell(cell, store_history=True).success
        assert [list(output.data) for output in captured.outputs] == [["image/png"]], cell
    assert list(tmp_path.iterdir()) == []
