"""The Figure of every plot, and the drawing of images."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from firstlight.errors import FirstlightError
from firstlight.plots.figure import Figure, save_figure, show_pixels
from firstlight.plots.samples import sample_sheet
from reference.legible import drawn_texts


def test_a_notebook_shows_a_png_and_pyplot_does_not_register_the_figure() -> None:
    figure = Figure(figsize=(2, 1), dpi=50)
    figure.subplots().plot([0, 1])
    assert plt.get_fignums() == []
    with Image.open(io.BytesIO(figure._repr_png_())) as image:
        assert (image.format, image.size) == ("PNG", (100, 50))


def test_every_pixel_is_a_crisp_square_without_ticks_or_frame() -> None:
    """Rendered with 10 dots to a pixel, the canvas holds the image and nothing else."""
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 6), dtype=np.uint8)
    figure = Figure(figsize=(6, 4), dpi=10, layout="none")
    show_pixels(figure.add_axes((0, 0, 1, 1)), pixels)
    figure.canvas.draw()
    canvas = np.asarray(figure.canvas.buffer_rgba())[:, :, :3]
    np.testing.assert_array_equal(canvas, pixels.transpose(1, 2, 0).repeat(10, axis=0).repeat(10, axis=1))


def test_texts_are_drawn_literally() -> None:
    name = r"$x$ \frac{"
    before = {key: plt.rcParams[key] for key in ("text.parse_math", "font.family")}
    figure = sample_sheet(np.zeros((1, 3, 4, 4), np.uint8), [name], "costs 5$, or 6$")
    assert {key: plt.rcParams[key] for key in before} == before, "the user's own figures would be drawn otherwise"
    assert {text.get_text() for text in drawn_texts(figure)} == {name, "costs 5$, or 6$"}


@pytest.mark.parametrize(("suffix", "magic"), [("png", b"\x89PNG\r\n"), ("svg", b"<?xml"), ("pdf", b"%PDF-")])
def test_the_suffix_chooses_the_format(tmp_path: Path, suffix: str, magic: bytes) -> None:
    path = tmp_path / "new" / f"figure.{suffix}"
    save_figure(Figure(figsize=(1, 1)), path)
    assert path.read_bytes().startswith(magic)
    assert [each.name for each in path.parent.iterdir()] == [path.name], "a temporary file was left behind"


def test_an_error_while_drawing_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "figure.png"
    path.write_bytes(b"old")

    def half(self: Figure, place: Path, **_: object) -> None:
        place.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", half)
    with pytest.raises(FirstlightError, match="No space left on device"):
        save_figure(Figure(), path)
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["figure.png"]
