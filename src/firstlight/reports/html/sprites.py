"""Sprites: many small images in one picture, of which the page's script draws parts."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

MAX_THUMBNAIL_PX = 48  # longer side; smaller images keep their pixels
MAX_SIDE_PX = 16_383  # of a WebP picture
WEBP_QUALITY = 80


@dataclass(frozen=True)
class Sprite:
    """Small images in rows of one picture.

    Args:
        uri: The picture as a data URI, WebP; empty if there is no image.
        columns: Number of images in a row.
        height: Height of each image in pixels.
        width: Width of each image in pixels.
    """

    uri: str
    columns: int
    height: int
    width: int

    def to_dict(self) -> dict[str, Any]:
        """Return the sprite's fields, for the page's script."""
        return asdict(self)


def make_sprite(images: UInt8[np.ndarray, "n 3 h w"]) -> Sprite:
    """Return a sprite of images of one size; images with a side above 48 pixels are scaled down.

    Args:
        images: Images, uint8 [n 3 h w].

    >>> sprite = make_sprite(np.zeros((3, 3, 8, 8), np.uint8))
    >>> sprite.columns, sprite.height, sprite.width
    (2, 8, 8)
    """
    height, width = _thumbnail_size(*images.shape[2:])
    columns = min(max(1, math.ceil(math.sqrt(len(images)))), MAX_SIDE_PX // width)
    if not len(images):
        return Sprite("", columns, height, width)
    sheet = Image.new("RGB", (columns * width, math.ceil(len(images) / columns) * height))
    for number, image in enumerate(images):
        picture = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
        if picture.size != (width, height):
            picture = picture.resize((width, height), Image.Resampling.LANCZOS)
        sheet.paste(picture, (number % columns * width, number // columns * height))
    stream = io.BytesIO()
    sheet.save(stream, "WEBP", quality=WEBP_QUALITY)
    return Sprite(f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode()}", columns, height, width)


def _thumbnail_size(height: int, width: int) -> tuple[int, int]:
    scale = min(1.0, MAX_THUMBNAIL_PX / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))
