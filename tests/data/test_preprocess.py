"""Any picture is converted to the network's pixels or refused in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from firstlight.data import decoding
from firstlight.data.preprocess import to_pixels
from firstlight.errors import DataError

RED, GREEN, WHITE = [255, 0, 0], [0, 255, 0], [255, 255, 255]


def two_halves(size: tuple[int, int] = (8, 8)) -> Image.Image:
    """An image with a red upper half and a green lower half."""
    image = Image.new("RGB", size, "red")
    image.paste((0, 255, 0), (0, size[1] // 2, size[0], size[1]))
    return image


def test_an_image_of_the_right_size_is_untouched_in_every_form() -> None:
    array = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    planes = torch.from_numpy(array).permute(2, 0, 1)
    for picture in (array, planes, array.transpose(2, 0, 1), Image.fromarray(array), array.astype(np.float64) / 255):
        assert torch.equal(to_pixels(picture, (6, 5)), planes)


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    image = two_halves()
    exif = Image.Exif()
    exif[0x0112] = 6  # displayed rotated by 90 degrees clockwise
    image.save(tmp_path / "turned.png", exif=exif)
    pixels = to_pixels(tmp_path / "turned.png", (8, 8))
    assert pixels[:, 4, 7].tolist() == RED
    assert pixels[:, 4, 0].tolist() == GREEN


def test_the_centre_is_cropped_in_the_networks_proportions() -> None:
    image = Image.new("RGB", (24, 8), "red")
    image.paste((0, 255, 0), (8, 0, 16, 8))
    assert torch.equal(to_pixels(image, (8, 8)), torch.tensor(GREEN, dtype=torch.uint8)[:, None, None].expand(3, 8, 8))


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "RGBA", "LA", "1", "I;16", "I", "F", "YCbCr"])
def test_every_mode_of_pillow_becomes_rgb(mode: str) -> None:
    grey = Image.new("L", (4, 4), 255)
    image = Image.new(mode, (4, 4), 65535) if mode in ("I;16", "I", "F") else grey.convert(mode)
    assert to_pixels(image, (4, 4))[:, 1, 1].tolist() == pytest.approx(WHITE, abs=2)


def test_transparency_is_blended_with_white() -> None:
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert to_pixels(clear, (4, 4))[:, 0, 0].tolist() == WHITE


def test_only_the_first_frame_of_an_animation_is_used(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "lime")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert to_pixels(tmp_path / "a.gif", (4, 4))[:, 0, 0].tolist() == RED


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"<svg/>", b"GIF89a"])
def test_a_file_that_is_no_image_is_refused_in_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"photo\.png") as caught:
        to_pixels(path, (8, 8))
    assert "\n" not in str(caught.value)


def test_a_truncated_or_missing_file_is_refused(tmp_path: Path) -> None:
    whole = tmp_path / "whole.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(whole)
    cut = tmp_path / "cut.png"
    cut.write_bytes(whole.read_bytes()[:3000])
    for path in (cut, tmp_path / "absent.png", tmp_path):
        with pytest.raises(DataError):
            to_pixels(path, (8, 8))


def test_a_picture_too_large_is_refused_before_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two_halves((100, 100)).save(tmp_path / "large.png")
    monkeypatch.setattr(decoding, "MAX_PIXELS", 5_000)
    with pytest.raises(DataError, match="100x100"):
        to_pixels(tmp_path / "large.png", (8, 8))


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 5), np.uint8),
        np.zeros((4, 4, 3), np.int64),
        np.full((4, 4, 3), 2.0),
        np.full((4, 4, 3), np.nan),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros(4, np.uint8),
    ],
)
def test_arrays_of_other_shapes_or_types_are_refused(array: np.ndarray) -> None:
    with pytest.raises(DataError, match="array"):
        to_pixels(array, (4, 4))
