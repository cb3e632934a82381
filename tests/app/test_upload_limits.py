"""Uploads are read correctly or refused in one line, in bounded memory."""

from __future__ import annotations

import random
import resource

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from firstlight.app.upload_decoding import PREVIEW_PX
from firstlight.app.upload_limits import read_upload
from firstlight.data.preprocess import to_pixels
from firstlight.errors import DataError
from reference.hostile import BAD, GOOD, LEFT, RIGHT, saved, sixteen_bit, two_halves

SIZE = (16, 16)


def halves(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """The mean colours away from the border between the halves."""
    return pixels[:, 2:-2, 1:6].float().mean((1, 2)), pixels[:, 2:-2, 10:15].float().mean((1, 2))


@pytest.mark.parametrize("name", GOOD)
def test_an_unusual_picture_is_read_correctly(name: str) -> None:
    upload = read_upload(GOOD[name](), name, SIZE)
    assert upload.pixels.shape == (3, 16, 16)
    assert upload.pixels.dtype == torch.uint8
    left, right = halves(upload.pixels)
    if name == "high.png":  # only the centre of a tall picture is used
        assert upload.notes
    torch.testing.assert_close(left, torch.tensor(LEFT).float(), rtol=0, atol=6)
    torch.testing.assert_close(right, torch.tensor(RIGHT).float(), rtol=0, atol=6)
    assert upload.preview.mode == "RGB"
    assert max(upload.preview.size) <= PREVIEW_PX


def test_sixteen_bits_are_scaled_down_not_clipped() -> None:
    left, right = halves(read_upload(sixteen_bit(), "grey.png", SIZE).pixels)
    assert left.tolist() == pytest.approx([0] * 3, abs=2)
    assert right.tolist() == pytest.approx([255] * 3, abs=2)


def test_large_grey_of_sixteen_bits_is_scaled_down_too() -> None:
    values = np.zeros((1500, 1500), np.uint16)
    values[:, 750:] = 40_000
    right = halves(read_upload(saved(Image.fromarray(values), "PNG"), "grey.png", SIZE).pixels)[1]
    assert right.tolist() == pytest.approx([40_000 / 257] * 3, abs=3)


def test_one_pixel_fills_the_picture() -> None:
    upload = read_upload(saved(Image.new("RGB", (1, 1), (7, 90, 200)), "PNG"), "dot.png", SIZE)
    assert torch.equal(upload.pixels, torch.tensor([7, 90, 200]).to(torch.uint8)[:, None, None].expand(3, 16, 16))


def test_transparent_pixels_stay_hidden() -> None:
    ghost = Image.new("RGBA", (40, 40), (0, 255, 0, 0))
    upload = read_upload(saved(ghost, "PNG"), "ghost.png", SIZE)
    assert upload.pixels.min() == 255, "white, not the green under it"
    assert upload.preview.getpixel((3, 3)) == (255, 255, 255)


@pytest.mark.parametrize("name", ["animated.gif", "animated.png", "animated.webp"])
def test_a_note_says_that_only_the_first_frame_of_an_animation_is_used(name: str) -> None:
    assert any("first frame" in note for note in read_upload(GOOD[name](), name, SIZE).notes)


def test_an_ordinary_picture_has_no_notes_and_the_pixels_of_predict() -> None:
    draw = np.random.default_rng(0)
    photo = Image.fromarray(draw.integers(0, 256, (300, 400, 3), dtype=np.uint8)).resize((900, 700))
    upload = read_upload(saved(photo, "PNG"), "photo.png", SIZE)
    assert upload.notes == ()
    assert torch.equal(upload.pixels, to_pixels(photo, SIZE))


def test_a_large_picture_has_nearly_the_pixels_of_predict() -> None:
    draw = np.random.default_rng(0)
    photo = Image.fromarray(draw.integers(0, 256, (30, 40, 3), dtype=np.uint8)).resize((4000, 3000))
    for form in ("PNG", "JPEG"):
        found = read_upload(saved(photo, form), "photo", SIZE).pixels.float()
        assert (found - to_pixels(photo, SIZE).float()).abs().max() <= 4


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_in_one_line_that_names_it(name: str) -> None:
    make, says = BAD[name]
    with pytest.raises(DataError, match=says) as caught:
        read_upload(make(), name, SIZE)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_decompression_bomb_takes_no_memory() -> None:
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name in ("bomb.png", "small bomb.png"):
        with pytest.raises(DataError):
            read_upload(BAD[name][0](), name, SIZE)
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb
    assert grown_kb < 20_000, "decoded, they would take 30 MB and 10 GB"


@pytest.mark.parametrize("name", ["rgb.png", "photo.jpg", "modern.webp", "animated.gif", "old.bmp", "cmyk.jpg"])
def test_damaged_files_are_read_or_refused_in_one_line(name: str) -> None:
    draw, content = random.Random(name), GOOD[name]()
    lines = []
    for _ in range(150):
        damaged = bytearray(content)
        for _ in range(draw.randint(1, 8)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        damaged = damaged[: draw.randrange(1, len(damaged) + 1)] if draw.random() < 0.3 else damaged
        try:
            assert read_upload(bytes(damaged), name, SIZE).pixels.shape == (3, 16, 16)
        except DataError as error:
            lines.append(str(error))
    assert len(lines) > 10
    assert not any("\n" in line for line in lines)


def test_a_name_cannot_break_the_line() -> None:
    with pytest.raises(DataError) as caught:
        read_upload(b"x", "a\nb\x1b[31m" + "c" * 500, SIZE)
    line = str(caught.value)
    assert line.isprintable()
    assert len(line) < 200
    with pytest.raises(DataError, match=r"^the file is empty"):
        read_upload(b"", "\x00\n", SIZE)


def test_the_test_picture_has_two_halves() -> None:
    assert two_halves().getpixel((0, 0)) == LEFT
    assert two_halves().getpixel((59, 59)) == RIGHT
