"""Uploads: unusual files that must be read correctly, and bad files that must be refused in one line."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

LEFT, RIGHT = (220, 30, 30), (30, 30, 220)  # every good picture is red on its left and blue on its right


def two_halves(width: int = 60, height: int = 60) -> Image.Image:
    """The picture in every good file."""
    image = Image.new("RGB", (width, height), LEFT)
    image.paste(RIGHT, (width // 2, 0, width, height))
    return image


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def animated(form: str) -> bytes:
    """An animation: two halves first, then green frames."""
    frames = [Image.new("RGB", (60, 60), (20, 200, 20 * number)) for number in range(3)]
    return saved(two_halves(), form, save_all=True, append_images=frames, duration=50, loop=0)


def rotated() -> bytes:
    """A rotated picture whose EXIF data give its orientation."""
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees clockwise
    return saved(two_halves().transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif, quality=95)


def transparent() -> bytes:
    """Two halves on a transparent background of green pixels."""
    image = two_halves(60, 60).convert("RGBA")
    hidden = Image.new("RGBA", (60, 60), (0, 255, 0, 0))
    hidden.paste(image, (0, 0))
    return saved(hidden, "PNG")


def palette() -> bytes:
    return saved(two_halves().convert("P", palette=Image.Palette.ADAPTIVE, colors=4), "PNG")


def sixteen_bit() -> bytes:
    """Grey of 16 bits: dark left, bright right."""
    values = np.zeros((60, 60), np.uint16)
    values[:, 30:] = 65535
    return saved(Image.fromarray(values), "PNG")


GOOD: dict[str, Callable[[], bytes]] = {
    "rgb.png": lambda: saved(two_halves(), "PNG"),
    "photo.jpg": lambda: saved(two_halves(), "JPEG", quality=95),
    "progressive.jpg": lambda: saved(two_halves(), "JPEG", quality=95, progressive=True),
    "modern.webp": lambda: saved(two_halves(), "WEBP", lossless=True),
    "old.bmp": lambda: saved(two_halves(), "BMP"),
    "cmyk.jpg": lambda: saved(two_halves().convert("CMYK"), "JPEG", quality=95),
    "palette.png": palette,
    "transparent.png": transparent,
    "animated.gif": lambda: animated("GIF"),
    "animated.png": lambda: animated("PNG"),
    "animated.webp": lambda: animated("WEBP"),
    "rotated.jpg": rotated,
    "long.png": lambda: saved(two_halves(20_000, 20), "PNG"),
    "high.png": lambda: saved(two_halves(20, 20_000), "PNG"),
    "large.jpg": lambda: saved(two_halves(4000, 4000), "JPEG"),
    "large palette.png": lambda: saved(two_halves(2400, 2400).convert("P"), "PNG"),
    "wrong suffix.txt": lambda: saved(two_halves(), "PNG"),
}


def bomb(width: int, height: int) -> bytes:
    """A PNG of some kilobytes that would unpack to width x height pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(width + 1)) for _ in range(64)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def many_scans(num_scans: int = 3000) -> bytes:
    """A progressive JPEG whose last scan is repeated: each scan touches all of its pixels."""
    whole = saved(Image.new("RGB", (2500, 2500), "grey"), "JPEG", progressive=True)
    last = whole.rindex(b"\xff\xda")
    return whole[:last] + whole[last:-2] * num_scans + whole[-2:]


def long_comment(num_bytes: int = 9_000_000) -> bytes:
    """A GIF with one comment of many blocks."""
    whole = saved(two_halves(), "GIF")
    begin = 13 + 3 * 2 ** (1 + (whole[10] & 7))
    return whole[:begin] + b"\x21\xfe" + (b"\xff" + b"x" * 255) * (num_bytes // 256) + b"\0" + whole[begin:]


def wide() -> bytes:
    """A grey PNG of 16 bits, 25 million pixels in one row."""
    return saved(Image.fromarray(np.zeros((1, 25_000_000), np.uint16)), "PNG")


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/><script>alert(1)</script></svg>'
HTML = b"<!doctype html><html><body><script>alert(1)</script></body></html>"

BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "scans.jpg": (many_scans, "more than 100 scans"),
    "comment.gif": (long_comment, "more than 1 MB of comments"),
    "wide.png": (wide, "a side of more than 65,535 pixels"),
    "bomb.png": (lambda: bomb(100_000, 100_000), "million pixels"),
    "small bomb.png": (lambda: bomb(6_000, 5_000), "6000x5000 is more than 25 million pixels"),
    "empty.png": (lambda: b"", "is empty"),
    "text.png": (lambda: b"not a picture at all\n" * 50, "is not a picture that can be read here"),
    "drawing.svg": (lambda: SVG, "is not a picture that can be read here"),
    "drawing.png": (lambda: SVG, "is not a picture that can be read here"),
    "page.html": (lambda: HTML, "is not a picture that can be read here"),
    "page.jpg": (lambda: HTML, "is not a picture that can be read here"),
    "cut.jpg": (lambda: saved(two_halves(300, 300), "JPEG")[:-500], "damaged or cut short"),
    "cut.png": (lambda: GOOD["rgb.png"]()[:-40], "damaged or cut short"),
    "cut.gif": (lambda: GOOD["animated.gif"]()[:80], "damaged or cut short"),
    "header only.webp": (lambda: GOOD["modern.webp"]()[:30], "read here|damaged"),
    "scan.tiff": (lambda: saved(two_halves(), "TIFF"), "is not a picture that can be read here"),
    "icon.ico": (lambda: saved(two_halves(), "ICO"), "is not a picture that can be read here"),
    "print.eps": (lambda: saved(two_halves(), "EPS"), "is not a picture that can be read here"),
    "too long.png": (lambda: GOOD["rgb.png"]() + bytes(10_000_000), "is larger than 10 MB"),
}
