"""Hostile files in a folder of images are refused, at little cost; others have the same pixels by either path."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from firstlight.data.decoder import Budget, Decoder
from firstlight.data.decoding import CHEAP_BYTES, decode_cheap
from firstlight.data.folder import decode_files as module
from firstlight.data.folder.decode_files import decode_files, stored_size_px
from firstlight.data.folder.layout import ImageFile
from firstlight.data.preprocess import to_pixels
from reference.hostile import GOOD, bomb, long_comment, many_scans, saved, two_halves, wide

HOSTILE = {
    "scans.jpg": (many_scans, "the JPEG has more than 100 scans"),
    "wide.png": (wide, "a side of more than 65,535 pixels"),
    "comment.gif": (long_comment, "the GIF has more than 1 MB of comments"),
    "bomb.png": (lambda: bomb(100_000, 100_000), "million pixels"),
    "program.jpg": (lambda: saved(two_halves(), "EPS"), "EPS files are not supported"),
}


def kept(folder: Path, name: str, content: bytes) -> ImageFile:
    (folder / name).write_bytes(content)
    return ImageFile(folder / name, name, "red")


def test_hostile_files_are_refused_in_a_line_and_quickly(tmp_path: Path) -> None:
    files = [kept(tmp_path, name, make()) for name, (make, _) in HOSTILE.items()]
    begun_s = time.process_time()
    found = decode_files(files, 16)
    sizes = [stored_size_px(file) for file in files]
    assert time.process_time() - begun_s < 3
    assert sizes[2] is None, "Pillow would join the comments to find the size"
    for refusal, (_, says) in zip(found, HOSTILE.values(), strict=True):
        assert isinstance(refusal, str)
        assert says in refusal
        assert len(refusal.splitlines()) == 1


@pytest.mark.parametrize("name", GOOD)
def test_the_pixels_are_those_of_to_pixels(tmp_path: Path, name: str) -> None:
    file = kept(tmp_path, name, GOOD[name]())
    assert torch.equal(decode_files([file], 16)[0], to_pixels(file.path, (16, 16)))
    with Image.open(file.path) as image:
        assert stored_size_px(file) == image.size


def test_only_small_pictures_of_simple_formats_are_decoded_in_this_process() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (700, 700, 3), dtype=np.uint8))
    assert len(saved(noise, "PNG")) > CHEAP_BYTES
    assert decode_cheap(saved(noise, "PNG"), "a.png", (4, 4)) is None
    assert decode_cheap(saved(two_halves(1001, 1000), "PNG"), "a.png", (4, 4)) is None
    assert decode_cheap(saved(two_halves(), "TIFF"), "a.png", (4, 4)) is None
    assert decode_cheap(saved(two_halves(1000, 1000), "JPEG"), "a.png", (4, 4)) is not None


def test_a_large_picture_over_its_budget_is_refused_and_the_others_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[Decoder] = []

    class Counted(Decoder):
        def __init__(self, function: str, budget: Budget, num_processes: int) -> None:
            super().__init__("reference.bad_decoders:misbehave", budget, num_processes)
            used.append(self)

    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setattr(module, "Decoder", Counted)
    monkeypatch.setattr(module, "FILE_BUDGET", Budget(time_s=0.5, memory_bytes=200_000_000))
    files = [kept(tmp_path, "slow.tif", b"compute"), kept(tmp_path, "good.png", GOOD["rgb.png"]())]
    slow, good = decode_files(files, 16)
    assert slow == "takes too much time or memory to decode: shrink it, or save it again with another program"
    assert isinstance(good, torch.Tensor)
    assert all(each is None or each.poll() is not None for each in used[0]._idle.queue), "a process was left running"
