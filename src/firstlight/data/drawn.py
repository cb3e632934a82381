"""`drawn`, the embedded data set: ten classes of shapes on cluttered backgrounds, each image with its evidence mask.

It is generated in seconds and never downloaded. Shapes vary in colour, shading, size, position and rotation. They lie
in front of clutter on a textured background, are partly occluded, and noise is added. The constants below set the
difficulty.

`watermark` is the same data set with a mark in one corner: in train the mark appears with one class, in test with the
other classes. A network that has learned the mark fails on the test split.
"""

from __future__ import annotations

import hashlib
from typing import get_args

import numpy as np
import torch
from jaxtyping import Bool, Int16, Int32
from torch import Tensor

from firstlight.arrays import Images
from firstlight.data.cifar import Split
from firstlight.data.drawn_cache import read_or_draw
from firstlight.data.images import ImageSet
from firstlight.data.shapes import (
    NUM_DIRECTIONS,
    PX,
    QUARTER,
    SHAPES,
    Coverage,
    Distances,
    Frame,
    Lengths,
    bar,
    coverage,
    disc,
)

# Difficulty. A pair is the range of a number that is drawn for each image. The digests in the tests and all published
# results hold only for these values, because other values draw other images.
RADIUS_PX = (6, 12)  # nominal radius of the object
MAX_SHADE = 4  # largest change of brightness along the object, in grey levels per pixel
BACKGROUND_LEVELS = (20, 235)  # channel values of the first background colour
BACKGROUND_CONTRAST = 60  # largest difference of the second colour in each channel, in grey levels
PATTERN_PERIOD_PX = (5, 14)  # period of the stripes and checks in the background
GRAIN_STRENGTH = (2, 24)  # amplitude of the background's grain, in grey levels
NUM_CLUTTER = 5  # number of bars, discs and half-discs between the background and the object
CLUTTER_WIDTH_PX = (0.5, 2)  # half width of a bar
CLUTTER_LENGTH_PX = (2, 8)  # half length of a bar
OCCLUDER_WIDTH_PX = (1, 2)  # half width of a bar across the object; a disc has twice this radius
OCCLUDER_KINDS = {"none": 4, "bar": 2, "disc": 2}  # relative frequency of each kind
MIN_VISIBLE_EIGHTHS = 5  # an occluder that leaves fewer eighths of the object visible is left out
NOISE_STRENGTH = (8, 40)  # of the pixel noise, whose standard deviation is 0.41 grey levels for each unit
NUM_OBJECT_COLOURS = 2  # candidates for an object's colour; the one that differs most from the background is used

SIDE_PX = 32
DRAWN_CLASSES = tuple(SHAPES)
NUM_EMBEDDED = {"train": 10_000, "test": 2_000}
EMBEDDED_NAMES = ("drawn", "watermark")
WATERMARK_NAME = "watermark"
EMBEDDED_SEED = 0
WATERMARK_CLASS = "five-pointed star"

# Images drawn at a time, a multiple of ten, so that their arrays fit into the cache. Another number draws other images.
_CHUNK = 250
_MARK = np.array([[1, 1, 1, 1, 1], [1, 0, 0, 0, 1], [1, 0, 1, 0, 1], [1, 0, 0, 0, 1], [1, 1, 1, 1, 1]], dtype=bool)
_MARK_PIXELS = slice(SIDE_PX - 6, SIDE_PX - 1)  # rows and columns: at the lower right, one pixel from the edges

Canvas = Int16[np.ndarray, "n 3 h w"]  # 0 to 255
Colours = Int16[np.ndarray, "n 3"]


def read_drawn(split: Split, watermark: bool = False) -> ImageSet:
    """Return a split of the embedded data set: 10,000 training images or 2,000 test images, balanced.

    The first call on a machine draws the images, and keeps them in the cache folder.

    >>> read_drawn("test").labels.bincount().tolist()
    [200, 200, 200, 200, 200, 200, 200, 200, 200, 200]
    """
    num_images = NUM_EMBEDDED[split]
    return read_or_draw(
        _name(split, watermark),
        num_images,
        DRAWN_CLASSES,
        lambda: draw(num_images, EMBEDDED_SEED, split, watermark),
    )


def draw(num_images: int, seed: int, split: Split, watermark: bool = False) -> ImageSet:
    """Draw images of the ten classes in turn, bit for bit the same on every machine.

    For the same seed and split, a larger `num_images` only appends images.

    Args:
        num_images: Number of images; a multiple of ten is balanced.
        seed: Seed of all random numbers.
        split: "train" or "test"; they share no image.
        watermark: Put the corner mark on 19 of 20 train images of `WATERMARK_CLASS` and on no other image; in test, on
            a quarter of the images of the other classes and on no image of this class.

    Returns:
        Images uint8 [n 3 32 32], labels, and the evidence: the pixels that the visible object covers by half or more,
        bool [n 32 32].

    Raises:
        ValueError: The number is below 1, the seed is below 0, or there is no such split.

    >>> images = draw(20, seed=0, split="train")
    >>> images.labels.bincount().tolist(), bool(images.evidence.flatten(1).any(1).all())
    ([2, 2, 2, 2, 2, 2, 2, 2, 2, 2], True)
    """
    if num_images < 1 or seed < 0:
        raise ValueError(f"num_images must be 1 or more and seed 0 or more, not {num_images} and {seed}")
    if split not in get_args(Split):
        raise ValueError(f"split must be one of {', '.join(get_args(Split))}, not {split!r}")
    images = torch.empty(num_images, 3, SIDE_PX, SIDE_PX, dtype=torch.uint8)
    evidence = torch.empty(num_images, SIDE_PX, SIDE_PX, dtype=torch.bool)
    labels = torch.arange(num_images) % len(DRAWN_CLASSES)
    for first in range(0, num_images, _CHUNK):
        here = slice(first, min(first + _CHUNK, num_images))
        random = _Random(f"{seed}/{split}/{first}", here.stop - here.start)
        canvas, visible = _draw_scenes(random)
        if watermark:
            marked = _choose_marked(random, labels[here].numpy(), split)
            visible &= ~(marked[:, None, None] & watermark_mask().numpy())
            canvas[marked, :, _MARK_PIXELS, _MARK_PIXELS] = np.where(_MARK, 255, 0)
        images[here] = torch.from_numpy(canvas.astype(np.uint8))
        evidence[here] = torch.from_numpy(visible)
    return ImageSet(images, labels, DRAWN_CLASSES, evidence=evidence, name=_name(split, watermark))


def _name(split: Split, watermark: bool) -> str:
    return f"{'watermark' if watermark else 'drawn'} {split}"


def watermark_mask() -> Bool[Tensor, "h w"]:
    """Return which pixels the corner mark covers, bool [32 32].

    >>> int(watermark_mask().sum())
    25
    """
    mask = torch.zeros(SIDE_PX, SIDE_PX, dtype=torch.bool)
    mask[_MARK_PIXELS, _MARK_PIXELS] = True
    return mask


def has_watermark(images: Images) -> Bool[Tensor, " n"]:
    """Return which images carry the corner mark, pixel for pixel where `draw` puts it, bool [n]."""
    corner = images[:, :, _MARK_PIXELS, _MARK_PIXELS]
    return (corner == torch.from_numpy(_MARK) * 255).flatten(1).all(1)


class _Random:
    """Random integers for each image of a chunk. They depend only on the key and are the same on every machine.

    NumPy guarantees the raw stream of a bit generator (NEP 19), but not the numbers of its distributions.

    Args:
        key: Name of the chunk.
        num_images: Number of images in the chunk.
    """

    def __init__(self, key: str, num_images: int) -> None:
        self.key = key
        self.num_images = num_images

    def raw(self, purpose: str, num: int) -> np.ndarray:
        """Return 64-bit numbers, uint64 [num], from the stream of the purpose."""
        digest = hashlib.sha256(f"{self.key}/{purpose}".encode()).digest()
        return np.random.PCG64(int.from_bytes(digest[:16], "little")).random_raw(num)

    def integers(self, purpose: str, low: int, high: int, *each: int) -> Int32[np.ndarray, " n *each"]:
        """Return integers from `low` to `high`, both included: an array of shape `each` for each image."""
        shape = (self.num_images, *each)
        raw = self.raw(purpose, int(np.prod(shape))) >> np.uint64(40)
        return low + (raw * np.uint64(high - low + 1) >> np.uint64(24)).astype(np.int32).reshape(shape)

    def colours(self, purpose: str, low: int = 0, high: int = 255) -> Colours:
        """Return a colour for each image."""
        return self.integers(purpose, low, high, 3).astype(np.int16)

    def noise(self, purpose: str) -> Canvas:
        """Return a number from -255 to 255 for each value of each image: the centred sum of two random bytes."""
        num = self.num_images * 3 * SIDE_PX**2
        pairs = self.raw(purpose, num // 4).astype("<u8").view(np.uint8).reshape(num, 2)
        sums = pairs[:, 0].astype(np.int16) + pairs[:, 1] - 255
        return sums.reshape(self.num_images, 3, SIDE_PX, SIDE_PX)


def _draw_scenes(random: _Random) -> tuple[Canvas, Bool[np.ndarray, "n h w"]]:
    """Draw the images from back to front; return them and the masks of their visible objects."""
    canvas, background = _paint_background(random)
    for number in range(NUM_CLUTTER):
        colours = (random.colours(f"clutter {number} colour") + background) // 2
        _paint(canvas, _clutter_coverage(random, f"clutter {number}"), colours)
    radius = random.integers("radius", *_lengths(RADIUS_PX))
    frame = _random_frame(random, "object", radius)
    objects = _object_coverage(frame, radius)
    _paint_objects(canvas, objects, frame, _choose_colours(random, background), random)
    occluders = _occluder_coverage(random, frame, radius)
    visible = objects * (PX - occluders) // PX
    too_much = 8 * visible.sum((1, 2), dtype=np.int32) < MIN_VISIBLE_EIGHTHS * objects.sum((1, 2), dtype=np.int32)
    occluders[too_much] = 0
    visible[too_much] = objects[too_much]
    _paint(canvas, occluders, random.colours("occluder colour"))
    strength = random.integers("noise strength", *NOISE_STRENGTH)[:, None, None, None]
    canvas += (random.noise("noise") * strength >> 8).astype(np.int16)
    return np.clip(canvas, 0, 255), visible >= PX // 2


def _paint(canvas: Canvas, cover: Coverage, colours: Colours) -> None:
    """Blend a colour into each image by its coverage."""
    canvas += (colours[:, :, None, None] - canvas) * cover[:, None] // PX


def _paint_background(random: _Random) -> tuple[Canvas, Colours]:
    """Draw two colours in a pattern (patches, stripes, checks or a slope) with a grain; return also their mean."""
    first = random.colours("ground", *BACKGROUND_LEVELS)
    second = np.clip(first + random.colours("ground contrast", -BACKGROUND_CONTRAST, BACKGROUND_CONTRAST), 0, 255)
    canvas = np.empty((random.num_images, 3, SIDE_PX, SIDE_PX), dtype=np.int16)
    canvas[:] = first[:, :, None, None]
    _paint(canvas, coverage(_pattern(random)), second)
    strength = random.integers("grain strength", *GRAIN_STRENGTH)[:, None, None]
    canvas += (_smooth_noise(random, "grain", cell_px=2) * strength // 128)[:, None].astype(np.int16)
    return canvas, (first + second) // 2


def _pattern(random: _Random) -> Distances:
    """Return signed distances that are negative where the background has its second colour."""
    wander = _smooth_noise(random, "wander", cell_px=8)
    frame = _random_frame(random, "pattern", random.integers("pattern margin", 0, PX))
    period = random.integers("period", *_lengths(PATTERN_PERIOD_PX))[:, None, None]
    one, other = (
        np.abs((axis + wander) % period - period // 2) - period // 4 for axis in (frame.along(), frame.along(QUARTER))
    )
    checks = np.maximum(np.minimum(one, other), -np.maximum(one, other))
    kind = random.integers("pattern kind", 0, 3)[:, None, None]
    return np.select([kind == 0, kind == 1, kind == 2], [one, checks, frame.along() // 16], default=wander // 2)


def _smooth_noise(random: _Random, purpose: str, cell_px: int) -> Int32[np.ndarray, "n h w"]:
    """Return numbers from -128 to 127: random on a lattice, interpolated linearly in between."""
    lattice = random.integers(purpose, -128, 127, SIDE_PX // cell_px + 1, SIDE_PX // cell_px + 1)
    cell, step = np.divmod(np.arange(SIDE_PX, dtype=np.int32), cell_px)
    columns = lattice[:, :, cell] * (cell_px - step) + lattice[:, :, cell + 1] * step
    rows = columns[:, cell] * (cell_px - step[:, None]) + columns[:, cell + 1] * step[:, None]
    return rows // cell_px**2


def _random_frame(random: _Random, purpose: str, margin: Lengths) -> Frame:
    """Return a frame with a random rotation and a random centre, at least the margin away from the edges."""
    x, y = ((SIDE_PX * PX - 2 * margin) * random.integers(f"{purpose} {axis}", 0, 256) // 256 + margin for axis in "xy")
    return Frame.at(x, y, random.integers(f"{purpose} turn", 0, NUM_DIRECTIONS - 1), SIDE_PX)


def _clutter_coverage(random: _Random, purpose: str) -> Coverage:
    """Return the coverage of a bar, a disc or a half-disc for each image."""
    frame = _random_frame(random, purpose, random.integers(f"{purpose} margin", 0, 2 * PX))
    small = random.integers(f"{purpose} small", *_lengths(CLUTTER_WIDTH_PX))
    large = random.integers(f"{purpose} large", *_lengths(CLUTTER_LENGTH_PX))
    blob = disc(frame, small + large // 3)
    kind = random.integers(f"{purpose} kind", 0, 3)[:, None, None]
    half = np.maximum(blob, frame.along())
    return coverage(np.select([kind < 2, kind == 2], [bar(frame, large, small), blob], default=half))


def _object_coverage(frame: Frame, radius: Lengths) -> Coverage:
    """Return the coverage of the objects; image i shows class i modulo ten."""
    cover = np.empty((len(radius), SIDE_PX, SIDE_PX), dtype=np.int16)
    for label, shape in enumerate(SHAPES.values()):
        members = slice(label, None, len(SHAPES))
        cover[members] = coverage(shape(frame[members], radius[members]))
    return cover


def _occluder_coverage(random: _Random, frame: Frame, radius: Lengths) -> Coverage:
    """Return the coverage of the occluder of each image: none, a bar or a disc in front of the object."""
    turn = random.integers("occluder turn", 0, NUM_DIRECTIONS - 1)
    half_width = random.integers("occluder half width", *_lengths(OCCLUDER_WIDTH_PX))
    away = radius * random.integers("occluder place", 4, 16) // 16
    turned = Frame(frame.across, frame.down, turn)
    strip = np.abs(turned.along() - away[:, None, None]) - half_width[:, None, None]
    blob = disc(turned, 2 * half_width, x=away)
    none, bars, discs = OCCLUDER_KINDS.values()
    kind = random.integers("occluder kind", 0, none + bars + discs - 1)[:, None, None]
    return coverage(np.select([kind < none, kind < none + bars], [np.full_like(strip, PX), strip], default=blob))


def _lengths(range_px: tuple[float | int, float | int]) -> tuple[int, int]:
    """Return a range in 1/64 px."""
    return int(range_px[0] * PX), int(range_px[1] * PX)


def _choose_colours(random: _Random, background: Colours) -> Colours:
    """Return a colour for each object: of several random colours, that with the largest distance to the background."""
    choices = np.stack([random.colours(f"object colour {number}") for number in range(NUM_OBJECT_COLOURS)])
    differences = np.abs(choices - background).sum(2, dtype=np.int32)
    return choices[differences.argmax(0), np.arange(random.num_images)]


def _paint_objects(canvas: Canvas, cover: Coverage, frame: Frame, colours: Colours, random: _Random) -> None:
    """Paint the objects; their brightness changes linearly along their first axis."""
    slope = random.integers("shade", -MAX_SHADE, MAX_SHADE)[:, None, None]
    shade = (frame.along() * slope // PX)[:, None].astype(np.int16)
    canvas += (np.clip(colours[:, :, None, None] + shade, 0, 255) - canvas) * cover[:, None] // PX


def _choose_marked(random: _Random, labels: np.ndarray, split: Split) -> Bool[np.ndarray, " n"]:
    """Return which images carry the mark: 19 of 20 of one class in train, a quarter of the other classes in test."""
    is_class = labels == DRAWN_CLASSES.index(WATERMARK_CLASS)
    die = random.integers("watermark", 1, 20)
    return is_class & (die < 20) if split == "train" else ~is_class & (die <= 5)
