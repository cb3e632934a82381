"""Convert any picture to RGB pixels of the network's input size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps
from torch import Tensor

from firstlight.data import decoding
from firstlight.data.picture_bounds import check_size
from firstlight.errors import DataError
from firstlight.files import read_bytes, regular_file
from firstlight.paths import user_path

MAX_FILE_BYTES = 2**30  # of a picture

Picture = Image.Image | np.ndarray | Tensor | Path | str


def to_pixels(picture: Picture, size_px: tuple[int, int]) -> UInt8[Tensor, "3 h w"]:
    """Convert a picture to RGB pixels of the network's input size.

    EXIF rotation is applied, transparency is blended with white, and the largest centred part with the proportions of
    the input is cropped and resized with an antialiasing filter. Only the first frame of an animation is used; colour
    profiles are ignored.

    Args:
        picture: Path, PIL image, or array: uint8 or float in [0, 1]; [h w], [h w 3] or [3 h w].
        size_px: Height and width of the result.

    Returns:
        Pixels, uint8 [3 h w].

    Raises:
        DataError: The file is missing, too large or not an image; or the array has another shape or type.

    >>> to_pixels(Image.new("RGB", (64, 48), "red"), (2, 2))[:, 0, 0].tolist()
    [255, 0, 0]
    """
    if isinstance(picture, Path | str):
        return torch.from_numpy(decoding.decode_file(file_content(picture), str(picture), size_px).pixels)
    with decoding.refusals("the picture"):
        image = picture if isinstance(picture, Image.Image) else _from_array(picture)
        return torch.from_numpy(decoding.fitted(image, size_px))


def file_content(path: Path | str) -> bytes:
    """Return the content of an image file.

    Raises:
        DataError: The file is missing, too large or not a regular file.
    """
    with decoding.refusals(str(path)):
        return read_bytes(user_path(path), MAX_FILE_BYTES)


def open_image(path: Path | str) -> Image.Image:
    """Open and decode an image file in RGB, its EXIF rotation applied.

    Raises:
        DataError: The file is missing, too large, damaged or not an image.
    """
    with decoding.refusals(str(path)), Image.open(regular_file(user_path(path))) as image:
        check_size(image.width, image.height, decoding.MAX_PIXELS, str(path))
        return decoding.to_rgb(ImageOps.exif_transpose(image))


def _from_array(picture: Any) -> Image.Image:
    array = picture.detach().cpu().numpy() if isinstance(picture, Tensor) else np.asarray(picture)
    if np.issubdtype(array.dtype, np.floating):
        if array.size and not (array.min() >= 0 and array.max() <= 1):
            raise DataError("an array of floats must hold values from 0 to 1; divide by 255 or pass uint8")
        array = (array * 255).round().astype(np.uint8)
    if array.dtype != np.uint8:
        raise DataError(f"an image array must be uint8, or float in [0, 1], not {array.dtype}")
    if array.ndim == 3 and array.shape[0] == 3 and array.shape[2] != 3:
        array = array.transpose(1, 2, 0)
    if array.ndim == 2:
        array = np.stack([array] * 3, axis=2)
    if array.ndim != 3 or array.shape[2] != 3 or array.size == 0:
        raise DataError(f"an image array must be [h w], [h w 3] or [3 h w], not {list(array.shape)}")
    return Image.fromarray(np.ascontiguousarray(array))
