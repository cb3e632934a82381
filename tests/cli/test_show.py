"""`firstlight show`: a file for each kind, and errors in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from firstlight.cli import main
from firstlight.data.batches import Augmentation
from firstlight.reports.data_sheets import augmentation_views, channel_sheet, class_rows, random_samples
from reference.tiny import tiny_split


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: str) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("kind", ["samples", "classes", "channels", "augmentation"])
def test_every_kind_is_written_to_a_file_of_its_name(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", kind, "--data", "tiny"]) == 0
    assert capsys.readouterr().out == f"{kind}.png\n"
    with Image.open(f"{kind}.png") as picture:
        assert min(picture.size) > 200
    assert [path.name for path in Path().iterdir()] == [f"{kind}.png"]


def test_every_option_changes_the_figure() -> None:
    images = tiny_split("test")
    how = Augmentation(crop_px=2, flip="alternating", cutout_px=3)
    for arguments, expected in {
        "samples --count 5": random_samples(images, 4, 5),
        "classes --count 3": class_rows(images, 4, 3),
        "channels --index 7": channel_sheet(images, 7),
        "augmentation --index 7 --count 2 --crop_px 2 --flip alternating --cutout_px 3": augmentation_views(
            images, how, 7, seed=4, count=2
        ),
    }.items():
        assert main(f"show {arguments} --data tiny --split test --seed 4 --out a/b.png".split()) == 0
        assert Path("a/b.png").read_bytes() == expected._repr_png_(), arguments


@pytest.mark.parametrize(("suffix", "begins"), [("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_vector_files(suffix: str, begins: bytes) -> None:
    assert main(["show", "classes", "--count", "2", "--data", "tiny", "--out", f"page.{suffix}"]) == 0
    assert Path(f"page.{suffix}").read_bytes().startswith(begins)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("", "kind"),
        ("everything", "samples"),
        ("samples --data imagenet", "no data set is called 'imagenet'"),
        ("samples --data cifar10 --data_dir /nowhere", "/nowhere"),
        ("samples --split val", "train"),
        ("samples --out page.jpg", "--out page.jpg: the name must end in .png, .svg, .pdf"),
        ("samples --out /dev/null/page.png --data tiny", "cannot write"),
        ("samples --count 0", "--count must be 1 to 256 for samples, not 0"),
        ("classes --count 33", "--count must be 1 to 32 for classes, not 33"),
        ("classes --index 3", "--index does nothing for classes: it is for channels, augmentation"),
        ("channels --count 3", "--count does nothing for channels: it is for samples, classes, augmentation"),
        ("channels --flip none", "--flip does nothing for channels: it is for augmentation"),
        ("channels --data tiny --index 192", "tiny train has no image 192: the indices range from 0 to 191"),
        ("augmentation --data tiny --crop_px 16", "crop_px 16 must be smaller than the images"),
        ("augmentation --crop_px -1", "crop_px"),
        ("augmentation --flip upside-down", "flip"),
    ],
)
def test_errors_of_the_user_are_one_line_and_status_2(
    arguments: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", *arguments.split()]) == 2
    printed = capsys.readouterr()
    assert says in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert list(Path().iterdir()) == []
