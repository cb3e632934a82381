"""The decoded images of a folder, kept in the user's cache folder so that they are decoded once.

Each is known by its place, its size in bytes and its time of change: what was added or changed is decoded, what was
removed is dropped. A file that is damaged, or was made with other settings, is made anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import __version__ as pillow_version
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from firstlight.arrays import Images
from firstlight.data.folder.layout import ImageFile
from firstlight.files import atomic
from firstlight.paths import cache_dir

FORMAT = 1  # to be raised when `to_pixels` gives other pixels

Key = tuple[str, int, int]  # place, size in bytes, time of change in ns


class Kept(NamedTuple):
    """Decoded images: the row of each file, and the rows, uint8 [n 3 h w]."""

    rows: dict[Key, int]
    images: Images


def key_of(file: ImageFile) -> Key:
    """Return what tells whether a file is the one that was decoded."""
    return file.place, file.size_bytes, file.modified_ns


def cache_path(root: Path, size_px: int) -> Path:
    """Return where the images of a folder are kept at one size."""
    place = os.fsencode(root.resolve()) + b"/" + str(size_px).encode()
    name = re.sub(r"[^A-Za-z0-9-]+", "_", root.resolve().name)[:40]
    return cache_dir() / "folders" / f"{name}-{size_px}px-{hashlib.sha256(place).hexdigest()[:16]}.safetensors"


def read_kept(path: Path, size_px: int) -> Kept:
    """Return what is kept; nothing if there is no such file, or not one that can be trusted."""
    try:
        with safe_open(path, framework="pt") as content:
            told = content.metadata() or {}
            images = content.get_tensor("images")
            keys = [(str(name), int(size), int(time)) for name, size, time in json.loads(told["files"])]
        is_ours = told["settings"] == _settings(size_px) and images.shape == (len(keys), 3, size_px, size_px)
        if is_ours and images.dtype == torch.uint8 and told["sha256"] == _digest(images, told["files"]):
            return Kept({key: row for row, key in enumerate(keys)}, images)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RecursionError):
        pass
    return Kept({}, torch.empty(0, 3, size_px, size_px, dtype=torch.uint8))


def write_kept(path: Path, kept: Kept, size_px: int) -> None:
    """Write the file whole.

    Raises:
        FirstlightError: its folder cannot be written.
        SafetensorError: the disk is full.
    """
    files = json.dumps(sorted(kept.rows, key=kept.rows.__getitem__))
    told = {"settings": _settings(size_px), "files": files, "sha256": _digest(kept.images, files)}
    with atomic(path) as temporary:
        save_file({"images": kept.images}, temporary, told)


def _settings(size_px: int) -> str:
    return f"format {FORMAT}, {size_px} px, Pillow {pillow_version}"


def _digest(images: Images, files: str) -> str:
    sha = hashlib.sha256(files.encode())
    sha.update(images.contiguous().numpy().data)
    return sha.hexdigest()
