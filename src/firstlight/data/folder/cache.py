"""Cache the decoded images of a folder in the user's cache folder.

An image is identified by the path, the size and the modification time of its file. New and changed files are decoded,
and images whose files are gone are dropped. A cache file that is damaged or was written with other settings is
replaced.
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
from firstlight.files import atomic, regular_file
from firstlight.paths import cache_dir

FORMAT = 1  # increased whenever `to_pixels` returns other pixels

Key = tuple[str, int, int]  # relative path, size in bytes, modification time in ns


class CachedImages(NamedTuple):
    """Decoded images, uint8 [n 3 h w], and the row of each file in them."""

    rows: dict[Key, int]
    images: Images


def key_of(file: ImageFile) -> Key:
    """Return the key of a file in the cache, which changes with the file."""
    return file.relative_path, file.size_bytes, file.modified_ns


def cache_path(root: Path, size_px: int) -> Path:
    """Return the path of the cache file for a folder and an image size."""
    identity = os.fsencode(root.resolve()) + b"/" + str(size_px).encode()
    name = re.sub(r"[^A-Za-z0-9-]+", "_", root.resolve().name)[:40]
    return cache_dir() / "folders" / f"{name}-{size_px}px-{hashlib.sha256(identity).hexdigest()[:16]}.safetensors"


def read_cache(path: Path, size_px: int) -> CachedImages:
    """Return the cached images; no images if the cache file is missing, damaged or written with other settings."""
    try:
        with safe_open(regular_file(path), framework="pt") as content:
            metadata = content.metadata() or {}
            images = content.get_tensor("images")
            keys = [(str(name), int(size), int(time)) for name, size, time in json.loads(metadata["files"])]
        is_ours = metadata["settings"] == _settings(size_px) and images.shape == (len(keys), 3, size_px, size_px)
        if is_ours and images.dtype == torch.uint8 and metadata["sha256"] == _digest(images, metadata["files"]):
            return CachedImages({key: row for row, key in enumerate(keys)}, images)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RecursionError):
        pass
    return CachedImages({}, torch.empty(0, 3, size_px, size_px, dtype=torch.uint8))


def write_cache(path: Path, cached: CachedImages, size_px: int) -> None:
    """Write the cache file atomically.

    Raises:
        FirstlightError: The cache folder cannot be written.
        SafetensorError: The disk is full.
    """
    files = json.dumps(sorted(cached.rows, key=cached.rows.__getitem__))
    metadata = {"settings": _settings(size_px), "files": files, "sha256": _digest(cached.images, files)}
    with atomic(path) as temporary:
        save_file({"images": cached.images}, temporary, metadata)


def _settings(size_px: int) -> str:
    return f"format {FORMAT}, {size_px} px, Pillow {pillow_version}"


def _digest(images: Images, files: str) -> str:
    sha = hashlib.sha256(files.encode())
    sha.update(images.contiguous().numpy().data)
    return sha.hexdigest()
