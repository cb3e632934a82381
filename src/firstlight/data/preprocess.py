"""Convert any picture to RGB pixels of the network's input size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from firstlight.errors import DataError, FirstlightError
from firstlight.files import regular_file
from firstlight.paths import user_path

MAX_PIXELS = 50_000_000  # a larger picture is refused before it is decoded

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
        with _refusals(picture), Image.open(regular_file(user_path(picture))) as image:
            _refuse_large(picture, image)
            # a JPEG can be decoded at a half, a quarter or an eighth of its size, far faster
            image.draft(None, (4 * size_px[1], 4 * size_px[0]))
            return _fitted(image, size_px)
    with _refusals("the picture"):
        return _fitted(picture if isinstance(picture, Image.Image) else _from_array(picture), size_px)


def open_image(path: Path | str) -> Image.Image:
    """Open and decode an image file, its EXIF rotation applied.

    Raises:
        DataError: The file is missing, too large, damaged or not an image.
    """
    with _refusals(path), Image.open(regular_file(user_path(path))) as image:
        _refuse_large(path, image)
        return ImageOps.exif_transpose(image)


def _fitted(image: Image.Image, size_px: tuple[int, int]) -> UInt8[Tensor, "3 h w"]:
    upright = to_rgb(ImageOps.exif_transpose(image))
    fitted = ImageOps.fit(upright, (size_px[1], size_px[0]), method=Image.Resampling.LANCZOS)
    return torch.from_numpy(np.asarray(fitted).transpose(2, 0, 1).copy())


def _refuse_large(path: Path | str, image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise DataError(f"{path}: {image.width}x{image.height} is more than {MAX_PIXELS:,} pixels; shrink it")


@contextmanager
def _refusals(path: Path | str) -> Iterator[None]:
    """Convert any exception of Pillow to a DataError of one line."""
    try:
        yield
    except FirstlightError:
        raise
    except UnidentifiedImageError as error:
        raise DataError(f"{path}: is not an image that can be read") from error
    except Image.DecompressionBombError as error:
        raise DataError(f"{path}: is more than {MAX_PIXELS:,} pixels; shrink it") from error
    except Exception as error:  # Pillow raises many types for damaged files
        reason = getattr(error, "strerror", None) or "the file is damaged or cut short"
        raise DataError(f"{path}: cannot be read ({reason})") from error


def to_rgb(image: Image.Image) -> Image.Image:
    """Return the image in RGB: 16 bits and floats scaled, transparency blended with white, palettes resolved."""
    if image.mode in ("I;16", "I;16B", "I;16L", "I;16N", "I", "F"):  # more than 8 bits: scale down, do not clip
        values = np.nan_to_num(np.asarray(image, dtype=np.float64))
        highest = values.max(initial=0)
        top = 65535.0 if highest > 255 else 1.0 if image.mode == "F" and highest <= 1 else 255.0
        image = Image.fromarray((np.clip(values, 0, top) * (255 / top)).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


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
