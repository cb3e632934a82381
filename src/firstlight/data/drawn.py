"""`drawn`, the embedded data set: ten classes of shapes on cluttered grounds, each image with its evidence mask.

It is generated in seconds, never downloaded. Shapes vary in colour, shading, size, place and rotation, lie in front of
clutter on a textured ground and partly behind an occluder, under noise. `watermark` is the same set with a trap: in
train a corner mark goes with one class, in test it goes with the others, so a network that learnt the mark fails.
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

SIDE_PX = 32
DRAWN_CLASSES = tuple(SHAPES)
NUM_EMBEDDED = {"train": 10_000, "test": 2_000}
EMBEDDED_NAMES = ("drawn", "watermark")
WATERMARK_NAME = "watermark"
EMBEDDED_SEED = 0
WATERMARK_CLASS = "five-pointed star"

# Images drawn at a time, a multiple of ten: their arrays fit in a processor's cache. Another number draws other images.
_CHUNK = 250
_NUM_CLUTTER = 5
_MIN_VISIBLE = 5  # eighths of the object; an occluder that would leave less is left out
_MARK = np.array([[1, 1, 1, 1, 1], [1, 0, 0, 0, 1], [1, 0, 1, 0, 1], [1, 0, 0, 0, 1], [1, 1, 1, 1, 1]], dtype=bool)
_MARK_PLACE = slice(SIDE_PX - 6, SIDE_PX - 1)  # rows and columns: at the lower right, a pixel from the edges

Canvas = Int16[np.ndarray, "n 3 h w"]  # 0 to 255
Colours = Int16[np.ndarray, "n 3"]


def read_drawn(split: Split, watermark: bool = False) -> ImageSet:
    """Draw a split of the embedded data set: 10,000 images to train on, 2,000 to test on, balanced.

    >>> read_drawn("test").labels.bincount().tolist()
    [200, 200, 200, 200, 200, 200, 200, 200, 200, 200]
    """
    return draw(NUM_EMBEDDED[split], EMBEDDED_SEED, split, watermark)


def draw(num_images: int, seed: int, split: Split, watermark: bool = False) -> ImageSet:
    """Draw images of the ten classes in turn, the same bits on every machine.

    A smaller number of images from the same seed and split is the beginning of a larger one.

    Args:
        num_images: how many; any multiple of ten is balanced.
        seed: of everything that chance decides.
        split: "train" or "test"; they share no image.
        watermark: put the corner mark on 19 of 20 train images of `WATERMARK_CLASS` and on no other; in test on
            a quarter of the other classes' images and on none of this one.

    Returns:
        Images uint8 [n 3 32 32], labels, and the evidence: the pixels of which the visible object makes up half
        or more, bool [n 32 32].

    Raises:
        ValueError: the number is below 1, the seed below 0, or there is no such split.

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
        chance = _Chance(f"{seed}/{split}/{first}", here.stop - here.start)
        canvas, visible = _draw_scenes(chance)
        if watermark:
            marked = _choose_marked(chance, labels[here].numpy(), split)
            visible &= ~(marked[:, None, None] & watermark_mask().numpy())
            canvas[marked, :, _MARK_PLACE, _MARK_PLACE] = np.where(_MARK, 255, 0)
        images[here] = torch.from_numpy(canvas.astype(np.uint8))
        evidence[here] = torch.from_numpy(visible)
    name = f"{'watermark' if watermark else 'drawn'} {split}"
    return ImageSet(images, labels, DRAWN_CLASSES, evidence=evidence, name=name)


def watermark_mask() -> Bool[Tensor, "h w"]:
    """Which pixels the corner mark covers where it is present, bool [32 32].

    >>> int(watermark_mask().sum())
    25
    """
    mask = torch.zeros(SIDE_PX, SIDE_PX, dtype=torch.bool)
    mask[_MARK_PLACE, _MARK_PLACE] = True
    return mask


def has_watermark(images: Images) -> Bool[Tensor, " n"]:
    """Tell which images carry the corner mark, where `draw` puts it, pixel for pixel."""
    corner = images[:, :, _MARK_PLACE, _MARK_PLACE]
    return (corner == torch.from_numpy(_MARK) * 255).flatten(1).all(1)


class _Chance:
    """Whole numbers for each of a chunk's images; the same for a key on every machine.

    NumPy promises that a bit generator's raw stream never changes (its NEP 19), not what its distributions make of it.

    Args:
        key: names the chunk.
        num_images: of the chunk.
    """

    def __init__(self, key: str, num_images: int) -> None:
        self.key = key
        self.num_images = num_images

    def raw(self, purpose: str, num: int) -> np.ndarray:
        """64-bit numbers, uint64 [num]; every purpose has a stream of its own."""
        digest = hashlib.sha256(f"{self.key}/{purpose}".encode()).digest()
        return np.random.PCG64(int.from_bytes(digest[:16], "little")).random_raw(num)

    def whole(self, purpose: str, low: int, high: int, *each: int) -> Int32[np.ndarray, " n *each"]:
        """Whole numbers from `low` to `high`, both included, for each image an array of shape `each`."""
        shape = (self.num_images, *each)
        raw = self.raw(purpose, int(np.prod(shape))) >> np.uint64(40)
        return low + (raw * np.uint64(high - low + 1) >> np.uint64(24)).astype(np.int32).reshape(shape)

    def colours(self, purpose: str, low: int = 0, high: int = 255) -> Colours:
        """A colour for each image."""
        return self.whole(purpose, low, high, 3).astype(np.int16)

    def noise(self, purpose: str) -> Canvas:
        """For each value of each image from -255 to 255, small ones likelier (the sum of two bytes)."""
        num = self.num_images * 3 * SIDE_PX**2
        pairs = self.raw(purpose, num // 4).astype("<u8").view(np.uint8).reshape(num, 2)
        sums = pairs[:, 0].astype(np.int16) + pairs[:, 1] - 255
        return sums.reshape(self.num_images, 3, SIDE_PX, SIDE_PX)


def _draw_scenes(chance: _Chance) -> tuple[Canvas, Bool[np.ndarray, "n h w"]]:
    """Return the pictures, back to front, and where their objects are visible."""
    canvas, ground = _paint_ground(chance)
    for number in range(_NUM_CLUTTER):
        colours = (chance.colours(f"clutter {number} colour") + ground) // 2
        _paint(canvas, _cover_of_clutter(chance, f"clutter {number}"), colours)
    radius = chance.whole("radius", 6 * PX, 12 * PX)
    frame = _place(chance, "object", radius)
    objects = _cover_of_objects(frame, radius)
    _paint_objects(canvas, objects, frame, _choose_colours(chance, ground), chance)
    occluders = _cover_of_occluders(chance, frame, radius)
    visible = objects * (PX - occluders) // PX
    too_much = 8 * visible.sum((1, 2), dtype=np.int32) < _MIN_VISIBLE * objects.sum((1, 2), dtype=np.int32)
    occluders[too_much] = 0
    visible[too_much] = objects[too_much]
    _paint(canvas, occluders, chance.colours("occluder colour"))
    strength = chance.whole("noise strength", 8, 40)[:, None, None, None]
    canvas += (chance.noise("noise") * strength >> 8).astype(np.int16)
    return np.clip(canvas, 0, 255), visible >= PX // 2


def _paint(canvas: Canvas, cover: Coverage, colours: Colours) -> None:
    """Lay a colour over each image where it covers it."""
    canvas += (colours[:, :, None, None] - canvas) * cover[:, None] // PX


def _paint_ground(chance: _Chance) -> tuple[Canvas, Colours]:
    """Two colours in a pattern (patches, stripes, checks or a slope), with a grain; return also their mean."""
    first = chance.colours("ground", 20, 235)
    second = np.clip(first + chance.colours("ground contrast", -60, 60), 0, 255)
    canvas = np.empty((chance.num_images, 3, SIDE_PX, SIDE_PX), dtype=np.int16)
    canvas[:] = first[:, :, None, None]
    _paint(canvas, coverage(_pattern(chance)), second)
    grain = _smooth_noise(chance, "grain", cell_px=2) * chance.whole("grain strength", 2, 24)[:, None, None] // 128
    canvas += grain[:, None].astype(np.int16)
    return canvas, (first + second) // 2


def _pattern(chance: _Chance) -> Distances:
    """Where the second colour of the ground lies, as signed distances."""
    wander = _smooth_noise(chance, "wander", cell_px=8)
    frame = _place(chance, "pattern", chance.whole("pattern margin", 0, PX))
    period = chance.whole("period", 5 * PX, 14 * PX)[:, None, None]
    one, other = (
        np.abs((axis + wander) % period - period // 2) - period // 4 for axis in (frame.along(), frame.along(QUARTER))
    )
    checks = np.maximum(np.minimum(one, other), -np.maximum(one, other))
    kind = chance.whole("pattern kind", 0, 3)[:, None, None]
    return np.select([kind == 0, kind == 1, kind == 2], [one, checks, frame.along() // 16], default=wander // 2)


def _smooth_noise(chance: _Chance, purpose: str, cell_px: int) -> Int32[np.ndarray, "n h w"]:
    """From -128 to 127, at random on a lattice and linear in between."""
    lattice = chance.whole(purpose, -128, 127, SIDE_PX // cell_px + 1, SIDE_PX // cell_px + 1)
    cell, step = np.divmod(np.arange(SIDE_PX, dtype=np.int32), cell_px)
    columns = lattice[:, :, cell] * (cell_px - step) + lattice[:, :, cell + 1] * step
    rows = columns[:, cell] * (cell_px - step[:, None]) + columns[:, cell + 1] * step[:, None]
    return rows // cell_px**2


def _place(chance: _Chance, purpose: str, margin: Lengths) -> Frame:
    """A frame turned at random, its centre at random, at least the margin from the image's edges."""
    x, y = ((SIDE_PX * PX - 2 * margin) * chance.whole(f"{purpose} {axis}", 0, 256) // 256 + margin for axis in "xy")
    return Frame.at(x, y, chance.whole(f"{purpose} turn", 0, NUM_DIRECTIONS - 1), SIDE_PX)


def _cover_of_clutter(chance: _Chance, purpose: str) -> Coverage:
    """A bar, a disc or half a disc for each image."""
    frame = _place(chance, purpose, chance.whole(f"{purpose} margin", 0, 2 * PX))
    small, large = chance.whole(f"{purpose} small", PX // 2, 2 * PX), chance.whole(f"{purpose} large", 2 * PX, 8 * PX)
    blob = disc(frame, small + large // 3)
    kind = chance.whole(f"{purpose} kind", 0, 3)[:, None, None]
    half = np.maximum(blob, frame.along())
    return coverage(np.select([kind < 2, kind == 2], [bar(frame, large, small), blob], default=half))


def _cover_of_objects(frame: Frame, radius: Lengths) -> Coverage:
    """Image i shows class i modulo ten."""
    cover = np.empty((len(radius), SIDE_PX, SIDE_PX), dtype=np.int16)
    for label, shape in enumerate(SHAPES.values()):
        members = slice(label, None, len(SHAPES))
        cover[members] = coverage(shape(frame[members], radius[members]))
    return cover


def _cover_of_occluders(chance: _Chance, frame: Frame, radius: Lengths) -> Coverage:
    """A bar or a disc across the object, for every other image."""
    turn = chance.whole("occluder turn", 0, NUM_DIRECTIONS - 1)
    half_width = chance.whole("occluder half width", PX, 2 * PX)
    away = radius * chance.whole("occluder place", 4, 16) // 16
    turned = Frame(frame.across, frame.down, turn)
    strip = np.abs(turned.along() - away[:, None, None]) - half_width[:, None, None]
    blob = disc(turned, 2 * half_width, x=away)
    kind = chance.whole("occluder kind", 0, 7)[:, None, None]
    return coverage(np.select([kind < 4, kind < 6], [np.full_like(strip, PX), strip], default=blob))


def _choose_colours(chance: _Chance, ground: Colours) -> Colours:
    """For each image, of two colours at random the one that differs more from its ground."""
    choices = np.stack([chance.colours(f"object colour {number}") for number in range(2)])
    differences = np.abs(choices - ground).sum(2, dtype=np.int32)
    return choices[differences.argmax(0), np.arange(chance.num_images)]


def _paint_objects(canvas: Canvas, cover: Coverage, frame: Frame, colours: Colours, chance: _Chance) -> None:
    """Lay the objects on, shaded along their first axis."""
    slope = chance.whole("shade", -4, 4)[:, None, None]
    shade = (frame.along() * slope // PX)[:, None].astype(np.int16)
    canvas += (np.clip(colours[:, :, None, None] + shade, 0, 255) - canvas) * cover[:, None] // PX


def _choose_marked(chance: _Chance, labels: np.ndarray, split: Split) -> Bool[np.ndarray, " n"]:
    """Which images carry the mark: in train nearly all of one class, in test some of every other."""
    is_class = labels == DRAWN_CLASSES.index(WATERMARK_CLASS)
    die = chance.whole("watermark", 1, 20)
    return is_class & (die < 20) if split == "train" else ~is_class & (die <= 5)
