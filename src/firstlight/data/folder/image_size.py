"""The sizes to which the images of a folder can be resized. Imports no PyTorch."""

from __future__ import annotations

from firstlight.errors import UsageError

SMALLEST_PX, LARGEST_PX = 16, 512  # the last maps of a 16x16 image are 2x2; those of smaller images have a single cell


def check_image_size(image_size: int) -> None:
    """Raise UsageError unless the size is 16 to 512 pixels, or 0 for a size chosen from the images."""
    if image_size != 0 and not SMALLEST_PX <= image_size <= LARGEST_PX:
        raise UsageError(f"image_size must be {SMALLEST_PX} to {LARGEST_PX} pixels, or 0, not {image_size}")
