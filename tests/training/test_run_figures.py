"""The figures of a run folder: which images are drawn, in which file format, and what `metrics.csv` says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from firstlight.errors import FirstlightError
from firstlight.plots.figure import Figure
from firstlight.training.run_figures import random_samples, read_metrics, save_figure
from reference.tiny import tiny_split


def drawn(figure: Figure) -> list[tuple[str, bytes]]:
    """Label and pixels of every image on the figure."""
    (axes,) = figure.axes
    pairs = zip(axes.texts, axes.images, strict=True)
    return [(text.get_text(), np.asarray(image.get_array()).tobytes()) for text, image in pairs]


def test_samples_are_different_images_with_their_own_labels() -> None:
    images = tiny_split("train")
    known = {
        image.permute(1, 2, 0).numpy().tobytes(): images.class_names[label]
        for image, label in zip(images.images, images.labels.tolist(), strict=True)
    }
    chosen = drawn(random_samples(images, seed=0, count=6))
    assert [known[pixels] for _, pixels in chosen] == [label for label, _ in chosen]
    assert len({pixels for _, pixels in chosen}) == 6


def test_the_same_seed_draws_the_same_samples_and_another_seed_others() -> None:
    images = tiny_split("train")
    first, again, other = (drawn(random_samples(images, seed, count=4)) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_a_small_set_is_drawn_whole() -> None:
    images = tiny_split("test")[:3]
    assert len(drawn(random_samples(images, seed=0))) == 3


def test_columns_of_metrics_are_numbers_and_empty_cells_are_none(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,val_acc,learning_rate\n0,,1e-3\n1,0.25,0.002\n")
    assert read_metrics(path) == {"epoch": [0, 1], "val_acc": [None, 0.25], "learning_rate": [0.001, 0.002]}
    path.write_text("epoch,val_acc\n")
    assert read_metrics(path) == {}


@pytest.mark.parametrize(("suffix", "magic"), [("png", b"\x89PNG\r\n"), ("svg", b"<?xml"), ("pdf", b"%PDF-")])
def test_the_suffix_says_the_format(tmp_path: Path, suffix: str, magic: bytes) -> None:
    path = tmp_path / "new" / f"figure.{suffix}"
    save_figure(Figure(figsize=(1, 1)), path)
    assert path.read_bytes().startswith(magic)
    assert [each.name for each in path.parent.iterdir()] == [path.name], "a temporary file was left behind"


def test_a_figure_that_cannot_be_drawn_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
