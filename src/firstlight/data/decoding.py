"""Decode pictures with Pillow and NumPy alone, so that a process that only decodes need not import PyTorch."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from firstlight.data.picture_bounds import check_content, check_size
from firstlight.errors import DataError, FirstlightError

MAX_PIXELS = 50_000_000  # a larger picture is refused before it is decoded
CHEAP_BYTES, CHEAP_PIXELS = 1_000_000, 1_000_000  # a smaller picture takes neither a second nor 100 MB
CHEAP_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "PPM")
TOO_COSTLY = "takes too much time or memory to decode: shrink it, or save it again with another program"


@dataclass(frozen=True, eq=False)
class Decoded:
    """A decoded picture.

    Args:
        pixels: Pixels at the input size of the network, uint8 [3 h w].
        preview: The picture, small enough for a page, uint8 [h w 3]; None if nobody needs it.
        notes: Sentences that tell the user how the picture was read.
    """

    pixels: UInt8[np.ndarray, "3 h w"]
    preview: UInt8[np.ndarray, "height width 3"] | None = None
    notes: tuple[str, ...] = ()


def decode_file(content: bytes, name: str, size_px: tuple[int, int]) -> Decoded:
    """Decode the content of an image file and resize it to the input size of a network.

    Args:
        content: Bytes of the file.
        name: Name of the file for messages.
        size_px: Height and width of the result.

    Raises:
        DataError: The file is too large, damaged or not an image.
    """
    check_content(content, name)
    with refusals(name), Image.open(io.BytesIO(content)) as image:
        return Decoded(fitted(drafted(image, name, size_px), size_px))


def decode_cheap(content: bytes, name: str, size_px: tuple[int, int]) -> Decoded | None:
    """Decode a picture as `decode_file` does if it is known to cost little; return None for others.

    Most pictures of a data set are small: a process of their own would take longer than decoding them.
    """
    if len(content) > CHEAP_BYTES:
        return None
    check_content(content, name)
    with refusals(name):
        try:
            image = Image.open(io.BytesIO(content), formats=CHEAP_FORMATS)
        except (UnidentifiedImageError, Image.DecompressionBombError):  # of another format, damaged, or very large
            return None
        with image:
            if image.width * image.height > CHEAP_PIXELS:
                return None
            return Decoded(fitted(drafted(image, name, size_px), size_px))


def drafted(image: Image.Image, name: str, size_px: tuple[int, int]) -> Image.Image:
    """Check the size of an opened picture, and have a JPEG decoded at a half, a quarter or an eighth of its size."""
    check_size(image.width, image.height, MAX_PIXELS, name)
    if image.format == "EPS":  # Pillow would run Ghostscript on the program that such a file is
        raise DataError(f"{name}: EPS files are not supported: convert it to JPEG or PNG")
    image.draft(None, (4 * size_px[1], 4 * size_px[0]))
    return image


def fitted(image: Image.Image, size_px: tuple[int, int]) -> UInt8[np.ndarray, "3 h w"]:
    """Return the largest centred part with the proportions of `size_px`, upright, in RGB, resized."""
    upright = to_rgb(ImageOps.exif_transpose(image))
    resized = ImageOps.fit(upright, (size_px[1], size_px[0]), method=Image.Resampling.LANCZOS)
    return np.asarray(resized).transpose(2, 0, 1).copy()


def to_rgb(image: Image.Image) -> Image.Image:
    """Return the image in RGB: 16 bits and floats scaled, transparency blended with white, palettes resolved."""
    if image.mode in ("I;16", "I;16B", "I;16L", "I;16N", "I", "F"):  # more than 8 bits: scale down, do not clip
        image = Image.fromarray(_to_eight_bits(image))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _to_eight_bits(image: Image.Image) -> UInt8[np.ndarray, "h w"]:
    """Scale the values to 0 to 255 in place: a second array of a large picture would take 100 MB."""
    values: Any = np.array(image, dtype=np.float32)
    np.nan_to_num(values, copy=False)
    highest = values.max(initial=0)
    top = 65535.0 if highest > 255 else 1.0 if image.mode == "F" and highest <= 1 else 255.0
    np.clip(values, 0, top, out=values)
    values *= 255  # exact in float32 for integers of 16 bits
    values /= top
    return values.astype(np.uint8)


@contextmanager
def refusals(name: str) -> Iterator[None]:
    """Convert any exception of Pillow to a DataError of one line."""
    try:
        yield
    except FirstlightError:
        raise
    except MemoryError as error:
        raise DataError(f"{name}: {TOO_COSTLY}") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{name}: is not an image that can be read") from error
    except Image.DecompressionBombError as error:
        raise DataError(f"{name}: is more than {MAX_PIXELS / 1e6:.3g} million pixels: shrink it") from error
    except Exception as error:  # Pillow raises many types for damaged files
        reason = getattr(error, "strerror", None) or "the file is damaged or cut short"
        raise DataError(f"{name}: cannot be read ({reason})") from error
