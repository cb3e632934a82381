"""Attributes of image files that may explain mistakes: their size in bytes, and the resolution before resizing."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float64
from torch import Tensor

from firstlight.data.folder.layout import Layout
from firstlight.data.folder.reader import stored_size_px
from firstlight.data.images import ImageSet
from firstlight.paths import printable


def file_attributes(layout: Layout, images: ImageSet) -> dict[str, Float64[Tensor, " n"]]:
    """Return the attributes of each image's file.

    `file size` is in bytes, `original resolution` the number of pixels in the file, `aspect ratio` the width divided
    by the height.

    Args:
        layout: Layout of the folder.
        images: Images of the folder, with their file names.

    Returns:
        Float64 [n] each; none if an image has no file in this layout, or its file cannot be opened any more.
    """
    files = {printable(file.relative_path): file for split in layout.files.values() for file in split}
    found = [files.get(name) for name in images.file_names or ()]
    sizes = [file and stored_size_px(file) for file in found]
    if len(found) != len(images) or not all(sizes):
        return {}
    return {
        "file size": torch.tensor([file.size_bytes for file in found if file], dtype=torch.float64),
        "original resolution": torch.tensor([math.prod(size) for size in sizes if size], dtype=torch.float64),
        "aspect ratio": torch.tensor([size[0] / size[1] for size in sizes if size], dtype=torch.float64),
    }
