"""Reading a folder of ordinary images as an ImageSet, and the cache of decoded images."""

from __future__ import annotations

import os
import shutil
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from firstlight.data.decoding import Decoded
from firstlight.data.folder import cache as folder_cache
from firstlight.data.folder import decode_files
from firstlight.data.folder.layout import FolderSplit, find_layout
from firstlight.data.folder.reader import default_size_px
from firstlight.data.images import ImageSet
from firstlight.data.source import FolderSource
from firstlight.errors import DataError
from reference.photo_folders import COLOURS, make_folder, save_photo

RED, GREEN, BLUE, WHITE, GREY = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (128, 128, 128)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "photos", {"red": 10, "green": 5, "blue": 5})


def read_folder(root: Path, split: FolderSplit, image_size: int = 0) -> ImageSet:
    return FolderSource("folder", root, image_size).read(split)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the names of decoded files."""
    names: list[str] = []
    decode_cheap = decode_files.decode_cheap

    def record(content: bytes, name: str, size_px: tuple[int, int]) -> Decoded | None:
        names.append("/".join(Path(name).parts[-2:]))
        return decode_cheap(content, name, size_px)

    monkeypatch.setattr(decode_files, "decode_cheap", record)
    return names


def one_of_each(place: Path, pictures: dict[str, Image.Image], **options: object) -> ImageSet:
    """A train folder of one class per picture, read at 16x16."""
    for name, picture in pictures.items():
        folder = place / "train" / name.partition(".")[0]
        folder.mkdir(parents=True)
        picture.save(folder / name, **options)
        shutil.copytree(folder, place / "test" / folder.name)
    return read_folder(place, "train", 16)


def remarks(root: Path) -> list[str]:
    source = FolderSource("folder", root)
    return source.remarks(source.train())


def colour_at(images: ImageSet, name: str, row: int = 8, column: int = 8) -> list[int]:
    return images.images[images.class_names.index(name)][:, row, column].tolist()


def test_images_labels_names_and_ids_are_those_of_the_files(photos: Path) -> None:
    train, test = read_folder(photos, "train"), read_folder(photos, "test")
    assert train.class_names == test.class_names == ("blue", "green", "red")
    assert train.labels.bincount().tolist() == [4, 4, 8]
    assert test.labels.bincount().tolist() == [1, 1, 2]
    assert (train.name, test.name) == ("photos train", "photos test")
    assert train.ids.tolist() == list(range(16))
    for images in (train, test):
        means = images.images.double().mean(dim=(2, 3))
        for mean, label in zip(means, images.labels.tolist(), strict=True):
            assert mean.tolist() == pytest.approx(COLOURS[images.class_names[label]], abs=6)
    assert len(read_folder(photos, "val")) == 0


def test_images_of_the_right_size_are_untouched(photos: Path) -> None:
    for path in photos.rglob("*.png"):
        save_photo(path, GREY, seed=len(str(path)), size=(32, 32))
    images = read_folder(photos, "train", 32)
    for file, pixels in zip(find_layout(photos).files["train"], images.images, strict=True):
        assert np.array_equal(np.asarray(Image.open(file.path)).transpose(2, 0, 1), pixels.numpy())


def test_the_centre_square_is_used(tmp_path: Path) -> None:
    wide = Image.new("RGB", (48, 16), RED)
    wide.paste(GREEN, (16, 0, 32, 16))
    tall = Image.new("RGB", (16, 80), RED)
    tall.paste(BLUE, (0, 32, 16, 48))
    images = one_of_each(tmp_path, {"wide.png": wide, "tall.png": tall})
    for name, colour in (("wide", GREEN), ("tall", BLUE)):
        pixels = images.images[images.class_names.index(name)].flatten(1)
        assert pixels.T.unique(dim=0).tolist() == [list(colour)]


def test_every_kind_of_picture_is_read_in_its_colours(tmp_path: Path) -> None:
    upright = Image.new("RGB", (16, 16), RED)
    upright.paste(GREEN, (0, 8, 16, 16))  # upper half red, lower half green
    exif = Image.Exif()
    exif[0x0112] = 6
    palette = Image.new("P", (16, 16), 1)
    palette.putpalette([0, 0, 0, 0, 0, 255])
    clear = Image.new("RGBA", (16, 16), (*BLUE, 0))
    half = Image.new("RGBA", (16, 16), (*RED, 128))
    deep = Image.fromarray(np.full((16, 16), 32896, np.uint16))
    pictures = {
        "turned.jpg": upright,
        "palette.gif": palette,
        "clear.png": clear,
        "half.webp": half,
        "print.jpeg": Image.new("CMYK", (16, 16), (0, 255, 255, 0)),
        "deep.png": deep,
        "grey.bmp": Image.new("L", (16, 16), 128),
        "bits.tif": Image.new("1", (16, 16), 1),
        "float.tiff": Image.fromarray(np.full((16, 16), 0.5, np.float32)),
        "plain.ppm": Image.new("RGB", (16, 16), BLUE),
    }
    for name, picture in pictures.items():
        folder = tmp_path / "train" / name.partition(".")[0]
        folder.mkdir(parents=True)
        options = {"exif": exif, "quality": 95} if name == "turned.jpg" else {}
        picture.save(folder / name, **options)
        (tmp_path / "test" / folder.name).mkdir(parents=True)
        picture.save(tmp_path / "test" / folder.name / name)
    images = read_folder(tmp_path, "train", 16)
    assert colour_at(images, "turned", 8, 13) == pytest.approx(RED, abs=8)
    assert colour_at(images, "turned", 8, 2) == pytest.approx(GREEN, abs=8)
    expected = {
        "palette": BLUE,
        "clear": WHITE,
        "half": (255, 127, 127),
        "print": RED,
        "deep": GREY,
        "grey": GREY,
        "bits": WHITE,
        "float": GREY,
        "plain": BLUE,
    }
    assert {name: colour_at(images, name) for name in expected} == {
        name: pytest.approx(colour, abs=8) for name, colour in expected.items()
    }


def test_the_first_frame_of_an_animation_is_used(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, GREEN, BLUE)]
    images = one_of_each(
        tmp_path, {"moving.gif": frames[0], "still.png": frames[1]}, save_all=True, append_images=frames[1:]
    )
    assert colour_at(images, "moving") == list(RED)


def test_files_that_cannot_be_read_are_named_counted_and_left_out(photos: Path) -> None:
    before = read_folder(photos, "train")
    refused = [file.path for file in find_layout(photos).files["train"] if file.class_name == "red"][:3]
    refused[0].write_bytes(b"not an image")
    refused[1].write_bytes(refused[1].read_bytes()[:200])
    refused[2].unlink()
    refused[2].symlink_to(photos / "gone.png")
    with pytest.warns(UserWarning, match="cannot be read") as warned:
        after = read_folder(photos, "train")
    (message,) = {str(each.message) for each in warned}
    assert message.startswith(f"{photos}: 3 of 16 train images cannot be read and are left out: ")
    for path, why in zip(refused, ("is not an image", "damaged or cut short", "No such file"), strict=True):
        assert f"red/{path.name}: " in message
        assert why in message
    assert len(after) == 13
    assert torch.equal(after.images, before.images[[0, 1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 14, 15]])


def test_many_unreadable_files_are_named_in_a_line_of_reasonable_length(tmp_path: Path) -> None:
    make_folder(tmp_path / "photos", {"train/red": 3, "train/green": 3, "test/red": 1})
    for number in range(30):
        (tmp_path / "photos" / "train" / "red" / f"broken{number:02}.jpg").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"30 of 36 train images .* and 20 more$"):
        assert len(read_folder(tmp_path / "photos", "train")) == 6


def test_a_class_without_a_readable_image_is_refused(photos: Path) -> None:
    for path in (photos / "green").iterdir():
        path.write_bytes(b"")
    with (
        pytest.warns(UserWarning, match="cannot be read"),
        pytest.raises(DataError, match="no image of 'green' can be"),
    ):
        read_folder(photos, "train")


def test_images_larger_than_the_limit_are_left_out_like_damaged_ones(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from firstlight.data import decoding

    monkeypatch.setattr(decoding, "MAX_PIXELS", 40 * 32)
    save_photo(photos / "red" / "large.png", COLOURS["red"], size=(41, 32))
    with pytest.warns(UserWarning, match="large.png: 41x32 is more than"):
        sum(len(read_folder(photos, split)) for split in ("train", "test"))  # type: ignore[arg-type]


@pytest.mark.parametrize(("side_px", "expected"), [(20, 32), (32, 32), (40, 32), (41, 64), (300, 64)])
def test_the_default_size_suits_most_of_the_images(tmp_path: Path, side_px: int, expected: int) -> None:
    root = make_folder(tmp_path / "photos", {"red": 3, "green": 3})
    for path in list(root.rglob("*.png"))[:5]:
        save_photo(path, GREY, size=(side_px + 7, side_px))
    assert default_size_px(find_layout(root)) == expected
    assert read_folder(root, "test").size_px == (expected, expected)


def test_classes_sizes_and_imbalance_are_reported(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "photos", {"red": 10, "green": 50, "blue": 10})
    (root / "empty").mkdir()
    assert remarks(root) == [
        f"{root}: a folder for each of 3 classes (blue, green, red)",
        "images become 32x32 pixels; 14 are kept for the test (a fifth of each class, the same for every seed)",
        "imbalance: blue has 8 training images, green has 40; always predicting green would be right for 71% of them",
        f"not used: {root / 'empty'}, which holds no image",
    ]
    even = make_folder(tmp_path / "even", {"train/red": 3, "train/green": 5, "test/red": 2})
    assert remarks(even) == [
        f"{even}: a folder for each of 2 classes (green, red)",
        "images become 32x32 pixels; 2 are kept for the test",
    ]


def test_images_are_decoded_once(photos: Path, decoded: list[str]) -> None:
    first = [read_folder(photos, split) for split in ("train", "test")]  # type: ignore[arg-type]
    assert len(decoded) == 20
    again = [read_folder(photos, split) for split in ("train", "test")]  # type: ignore[arg-type]
    assert len(decoded) == 20
    assert [each.digest() for each in first] == [each.digest() for each in again]


def test_only_changed_files_are_decoded_again(photos: Path, decoded: list[str]) -> None:
    read_folder(photos, "train")
    decoded.clear()
    save_photo(photos / "red" / "new.png", COLOURS["red"], seed=9)
    save_photo(photos / "red" / "003.png", COLOURS["red"], seed=99)
    os.utime(photos / "green" / "001.png", ns=(1, 1))
    (photos / "blue" / "002.png").unlink()
    (photos / "blue" / "003.png").rename(photos / "blue" / "renamed.png")
    after = {split: read_folder(photos, split) for split in ("train", "test")}  # type: ignore[arg-type]
    assert sorted(decoded) == ["blue/renamed.png", "green/001.png", "red/003.png", "red/new.png"]
    digests = {split: each.digest() for split, each in after.items()}
    shutil.rmtree(os.environ["FIRSTLIGHT_CACHE"])
    assert {split: read_folder(photos, split).digest() for split in after} == digests  # type: ignore[arg-type]


def test_another_size_or_cache_format_is_decoded_again(
    photos: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read_folder(photos, "train", 32)
    assert read_folder(photos, "train", 48).size_px == (48, 48)
    assert len(decoded) == 40
    monkeypatch.setattr(folder_cache, "FORMAT", folder_cache.FORMAT + 1)
    read_folder(photos, "train", 32)
    assert len(decoded) == 60
    read_folder(photos, "train", 48)
    read_folder(photos, "train", 48)
    assert len(decoded) == 80


@pytest.mark.parametrize("damage", ["empty", "cut", "pixel", "names", "footer", "text", "folder"])
def test_a_damaged_cache_is_replaced(photos: Path, cache: Path, decoded: list[str], damage: str) -> None:
    whole = read_folder(photos, "train")
    (path,) = (cache / "folders").glob("*.images")
    content = path.read_bytes()
    assert content.count(b"red/000.png") == 1
    if damage == "folder":
        path.unlink()
        path.mkdir()
    else:
        damaged = {
            "empty": b"",
            "cut": content[:-1],
            "pixel": bytes([content[0] ^ 1]) + content[1:],
            "names": content.replace(b"red/000.png", b"red/900.png"),
            "footer": content[:-40] + bytes([255]) + content[-39:],
            "text": b"not a cache",
        }
        path.write_bytes(damaged[damage])
    decoded.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if damage == "folder" else "error")
        assert read_folder(photos, "train").digest() == whole.digest()
        assert len(decoded) == 20
        read_folder(photos, "train")
    assert len(decoded) == (40 if damage == "folder" else 20)


def test_the_cache_is_one_file_of_raw_pixels_outside_of_the_data(photos: Path, cache: Path) -> None:
    before = sorted(photos.rglob("*"))
    train = read_folder(photos, "train")
    assert sorted(photos.rglob("*")) == before, "nothing is written where the images are: it may be read-only"
    (path,) = (each for each in cache.rglob("*") if each.is_file())
    stored = np.fromfile(path, np.uint8, 20 * 32 * 32 * 3).reshape(20, 32, 32, 3)
    assert np.array_equal(stored[:16].transpose(0, 3, 1, 2), train.images.numpy())


@pytest.mark.parametrize("obstacle", ["file", "full"])
def test_without_a_cache_folder_the_images_are_still_read(
    photos: Path, cache: Path, obstacle: str, monkeypatch: pytest.MonkeyPatch, decoded: list[str]
) -> None:
    if obstacle == "file":
        cache.write_bytes(b"in the way")
    else:

        def fail(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "posix_fallocate", fail)
    for num_decoded in (20, 40):
        with pytest.warns(UserWarning, match="cannot keep the decoded images in .*FIRSTLIGHT_CACHE"):
            assert len(read_folder(photos, "train")) == 16
        assert len(decoded) == num_decoded
    assert not [path for path in cache.rglob("*") if path.is_file()], "something is left behind"


def test_one_of_several_processes_decodes(photos: Path, decoded: list[str]) -> None:
    digests: list[str] = []
    threads = [threading.Thread(target=lambda: digests.append(read_folder(photos, "train").digest())) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(set(digests)) == 1
    assert len(digests) == 4
    assert len(decoded) == 20
