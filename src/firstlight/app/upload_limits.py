"""Read uploads in memory, within limits of size, number of pixels and file formats; reject others with one line."""

from __future__ import annotations

import io
from dataclasses import dataclass

from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from firstlight.data.preprocess import to_pixels, to_rgb
from firstlight.errors import DataError

MAX_BYTES = 10_000_000
MAX_PIXELS = 25_000_000  # a larger picture is rejected before it is decoded
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")  # Pillow starts no other decoder
ACCEPTED = "JPEG, PNG, WebP, GIF or BMP"
ENOUGH_PX = 512  # larger pictures are first averaged down to about this side, which saves time and memory
PREVIEW_PX = 448
MAX_NAME_LENGTH = 60
_AVERAGED = frozenset(("L", "LA", "RGB", "RGBA", "CMYK", "YCbCr"))  # modes in which averaging pixels makes sense


@dataclass(frozen=True, eq=False)
class Upload:
    """A picture that was read.

    Args:
        pixels: Pixels at the input size of the network, uint8 [3 h w].
        preview: The picture, small enough for a page, RGB.
        notes: Sentences that tell the user how the picture was read.
    """

    pixels: UInt8[Tensor, "3 h w"]
    preview: Image.Image
    notes: tuple[str, ...]


def read_upload(content: bytes, name: str, size_px: tuple[int, int]) -> Upload:
    """Read an uploaded picture as `firstlight.data.preprocess.to_pixels` reads a file.

    Only the first frame of an animation is read. Only the formats of `FORMATS` are decoded, up to `MAX_PIXELS` pixels.

    Args:
        content: Bytes of the file.
        name: Name of the file for messages; may be any text.
        size_px: Height and width of the network's input.

    Raises:
        DataError: The file is empty, too large, damaged, or not a picture in one of these formats.
    """
    name = _printable(name)
    if not content:
        raise DataError(f"{name} is empty")
    if len(content) > MAX_BYTES:
        raise DataError(f"{name} is larger than {MAX_BYTES // 1_000_000} MB: shrink it")
    image, notes = _decode(content, name)
    image = to_rgb(image)
    pixels = to_pixels(image, size_px)
    image.thumbnail((PREVIEW_PX, PREVIEW_PX))
    return Upload(pixels, image, notes)


def _decode(content: bytes, name: str) -> tuple[Image.Image, tuple[str, ...]]:
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                size = f"{image.width}x{image.height}"
                raise DataError(f"{name}: {size} is more than {MAX_PIXELS // 1_000_000} million pixels: shrink it")
            notes = _notes(image)
            image.draft(None, (ENOUGH_PX, ENOUGH_PX))  # a JPEG is decoded at 1/2, 1/4 or 1/8 if that is enough
            return ImageOps.exif_transpose(_shrunk(image)), notes
    except UnidentifiedImageError as error:
        raise DataError(f"{name} is not a picture that can be read here: give a {ACCEPTED} file") from error
    except Image.DecompressionBombError as error:
        raise DataError(f"{name} is more than {MAX_PIXELS // 1_000_000} million pixels: shrink it") from error
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, KeyError, OverflowError) as error:
        # Pillow raises each of these for some damaged file
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


def _printable(name: str) -> str:
    kept = "".join(letter for letter in name if letter.isprintable()).strip() or "the file"
    return kept if len(kept) <= MAX_NAME_LENGTH else kept[: MAX_NAME_LENGTH - 1] + "\N{HORIZONTAL ELLIPSIS}"
