"""Write and read sheets: many small images in one PNG, without loss."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from firstlight.arrays import Images
from firstlight.errors import RunError
from firstlight.files import atomic, regular_file

NUM_COLUMNS = 32
MAX_PIXELS = 60_000_000  # of a sheet: about 58,000 images of 32x32 pixels


def write_sheet(path: Path, images: Images) -> None:
    """Write images row by row into one PNG; the rest of the last row is black.

    Args:
        path: Path of the file.
        images: Raw pixels, uint8 [n 3 h w].
    """
    count, _, height, width = images.shape
    columns = max(1, min(NUM_COLUMNS, count))
    rows = max(1, -(-count // columns))
    tiles = np.zeros((rows * columns, 3, height, width), dtype=np.uint8)
    tiles[:count] = images.numpy()
    grid = tiles.reshape(rows, columns, 3, height, width).transpose(0, 3, 1, 4, 2)
    with atomic(path) as temporary:
        sheet = Image.fromarray(grid.reshape(rows * height, columns * width, 3))
        sheet.save(temporary, format="PNG", optimize=True)


def read_sheet(path: Path, count: int, size_px: tuple[int, int]) -> Images:
    """Read the images of a sheet.

    Args:
        path: Path of the file.
        count: Number of images in it.
        size_px: Height and width of each image.

    Returns:
        Raw pixels, uint8 [count 3 h w].

    Raises:
        RunError: The file is missing or damaged, or has another size.
    """
    height, width = size_px
    columns = max(1, min(NUM_COLUMNS, count))
    rows = max(1, -(-count // columns))
    try:
        with Image.open(regular_file(path), formats=("PNG",)) as sheet:
            if sheet.size != (columns * width, rows * height) or sheet.width * sheet.height > MAX_PIXELS:
                raise ValueError(f"it measures {sheet.width}x{sheet.height}")
            grid = np.asarray(sheet.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise RunError(f"{path}: cannot be read as a sheet of {count} images. Export the model again.") from error
    tiles = grid.reshape(rows, height, columns, width, 3).transpose(0, 2, 4, 1, 3).reshape(-1, 3, height, width)
    return torch.from_numpy(tiles[:count].copy())
