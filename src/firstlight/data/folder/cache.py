"""Cache the decoded images of a folder in the user's cache folder.

An image is identified by its class and by the path, the size and the modification time of its file. New and changed
files are decoded. A cache file that is damaged or was written with other settings is replaced.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt64
from PIL import __version__ as pillow_version

from firstlight.data.folder.image_map import ImageMap, open_image_map
from firstlight.data.folder.layout import ImageFile
from firstlight.data.free_memory import fits_in_memory
from firstlight.paths import cache_dir

FORMAT = 2  # increased whenever decoding returns other pixels


def keys_of(files: Sequence[ImageFile]) -> UInt64[np.ndarray, "n 2"]:
    """Return the keys of files in the cache, uint64 [n 2], which change with the files."""
    sha = hashlib.blake2b(digest_size=16)
    content = bytearray()
    for file in files:
        each = sha.copy()
        text = f"{file.relative_path}\0{file.class_name}\0{file.size_bytes}\0{file.modified_ns}"
        each.update(text.encode("utf-8", "surrogatepass"))
        content += each.digest()
    return np.frombuffer(bytes(content), dtype=np.uint64).reshape(len(files), 2)


def cache_path(root: Path, size_px: int) -> Path:
    """Return the path of the cache file for a folder and an image size."""
    identity = os.fsencode(root.resolve()) + b"/" + str(size_px).encode()
    name = re.sub(r"[^A-Za-z0-9-]+", "_", root.resolve().name)[:40]
    return cache_dir() / "folders" / f"{name}-{size_px}px-{hashlib.sha256(identity).hexdigest()[:16]}.images"


def open_cache(path: Path, size_px: int) -> ImageMap | None:
    """Open the cached images; None if the file is missing, damaged or was written with other settings.

    The pixels of images that stay in memory are checked, too: they are read anyway.
    """
    found = open_image_map(path, settings(size_px), size_px)
    if found is not None and fits_in_memory(found.pixels.nbytes) and not found.is_whole():
        return None
    return found


def settings(size_px: int) -> str:
    """Return the settings on which the decoded pixels depend."""
    return f"format {FORMAT}, {size_px} px, Pillow {pillow_version}"
