"""A hundred made pictures for tests and benchmarks: sizes, modes, formats, rotations, transparency."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image

ORIENTATIONS = range(1, 9)
SIZES = [(32, 32), (33, 47), (200, 90), (91, 300), (640, 480), (7, 5), (1, 1), (500, 501), (1200, 900), (3000, 20)]


def scene(width: int, height: int, seed: int) -> np.ndarray:
    """Waves, a disk and noise, uint8 [h w 3]."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width] / max(height, width)
    phases = random.uniform(0, 6, 3)
    waves = np.stack([np.sin(9 * (rows + (i + 1) * columns) + phase) for i, phase in enumerate(phases)], axis=2)
    disk = (rows - random.uniform(0, 1)) ** 2 + (columns - random.uniform(0, 1)) ** 2 < 0.06
    values = 128 + 90 * waves + 25 * random.standard_normal((height, width, 3))
    values[disk] = random.uniform(0, 255, 3)
    return values.clip(0, 255).astype(np.uint8)


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def made_pictures() -> Iterator[tuple[str, bytes]]:
    """Yield the names and the contents of a hundred files."""
    for number, (width, height) in enumerate(SIZES):
        pixels = scene(width, height, number)
        image = Image.fromarray(pixels)
        grey = image.convert("L")
        alpha = Image.fromarray(scene(width, height, 100 + number)[:, :, 0])
        with_alpha = image.copy()
        with_alpha.putalpha(alpha)
        yield f"rgb-{number}.png", saved(image, "PNG")
        yield f"grey-{number}.png", saved(grey, "PNG")
        yield f"palette-{number}.png", saved(image.quantize(32), "PNG")
        yield f"alpha-{number}.png", saved(with_alpha, "PNG")
        yield f"lossless-{number}.bmp", saved(image, "BMP")
        yield f"frame-{number}.gif", saved(image, "GIF")
        yield f"photo-{number}.jpg", saved(image, "JPEG", quality=90)
        yield f"colours-{number}-lossless.webp", saved(image, "WEBP", lossless=True)
    for orientation in ORIENTATIONS:
        exif = Image.Exif()
        exif[0x0112] = orientation
        image = Image.fromarray(scene(120, 80, 50 + orientation))
        yield f"turned-{orientation}.jpg", saved(image, "JPEG", exif=exif, quality=95)
    for number in range(4):
        pixels = scene(90, 70, 60 + number)
        deep = (pixels[:, :, 0].astype(np.uint16) << 8) + pixels[:, :, 1]
        yield f"deep-{number}.png", saved(Image.fromarray(deep), "PNG")
        grey_alpha = Image.fromarray(pixels).convert("LA")
        grey_alpha.putalpha(Image.fromarray(pixels[:, :, 2]))
        yield f"grey-alpha-{number}.png", saved(grey_alpha, "PNG")
    image = Image.fromarray(scene(150, 150, 70))
    yield "cmyk.jpg", saved(image.convert("CMYK"), "JPEG", quality=95)
    yield "progressive.jpg", saved(image, "JPEG", quality=95, progressive=True)
    yield "bit.png", saved(image.convert("1"), "PNG")
    yield "lossy.webp", saved(image, "WEBP", quality=90)
