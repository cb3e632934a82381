"""Decode uploads within limits of number of pixels and file formats; without PyTorch, for a process of its own."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from firstlight.data.decoding import Decoded, fitted, to_rgb
from firstlight.data.picture_bounds import check_content, check_size
from firstlight.errors import DataError

MAX_PIXELS = 25_000_000  # a larger picture is rejected before it is decoded
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")  # Pillow starts no other decoder
ACCEPTED = "JPEG, PNG, WebP, GIF or BMP"
ENOUGH_PX = 512  # larger pictures are first averaged down to about this side, which saves time and memory
PREVIEW_PX = 448
_AVERAGED = frozenset(("L", "LA", "RGB", "RGBA", "CMYK", "YCbCr"))  # modes in which averaging pixels makes sense
# Pillow raises each of these for some damaged file.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, KeyError, OverflowError)


def decode_upload(content: bytes, name: str, size_px: tuple[int, int]) -> Decoded:
    """Decode an upload, with a preview and notes for its user.

    Args:
        content: Bytes of the file.
        name: Name of the file for messages.
        size_px: Height and width of the network's input.

    Raises:
        DataError: The file has too many pixels, is damaged, or is not a picture in one of these formats.
    """
    check_content(content, name)
    image, notes = _decode(content, name)
    image = to_rgb(image)
    pixels = fitted(image, size_px)
    image.thumbnail((PREVIEW_PX, PREVIEW_PX))
    return Decoded(pixels, np.asarray(image), notes)


def _decode(content: bytes, name: str) -> tuple[Image.Image, tuple[str, ...]]:
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            check_size(image.width, image.height, MAX_PIXELS, name)
            notes = _notes(image)
            image.draft(None, (ENOUGH_PX, ENOUGH_PX))  # a JPEG is decoded at 1/2, 1/4 or 1/8 if that is enough
            return ImageOps.exif_transpose(_shrunk(image)), notes
    except UnidentifiedImageError as error:
        raise DataError(f"{name} is not a picture that can be read here: give a {ACCEPTED} file") from error
    except Image.DecompressionBombError as error:
        raise DataError(f"{name} is more than {MAX_PIXELS // 1_000_000} million pixels: shrink it") from error
    except _DAMAGE as error:
        raise DataError(f"{name} is damaged or cut short: give a file that other programs can open") from error


def _shrunk(image: Image.Image) -> Image.Image:
    """Average blocks of pixels of a picture that is much larger than needed, and keep its EXIF data."""
    exif = image.getexif()
    factor = min(image.size) // ENOUGH_PX
    if factor < 2:
        image.load()
        return image
    if "transparency" in image.info:
        image = image.convert("RGBA")
    elif image.mode not in _AVERAGED:
        image = image.convert("I" if image.mode.startswith("I") else "RGB")
    small = image.reduce(factor)
    small.info["exif"] = exif.tobytes()
    return small


def _notes(image: Image.Image) -> tuple[str, ...]:
    notes = []
    if getattr(image, "is_animated", False):
        notes.append("Only the first frame of this animation is used.")
    longer, shorter = max(image.size), min(image.size)
    if longer > 2 * shorter:
        notes.append("Only the centre of this picture is used: one side is more than twice as long as the other.")
    return tuple(notes)
