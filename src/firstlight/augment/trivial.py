"""TrivialAugment: one random operation of random strength for each image."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from firstlight.arrays import Images
from firstlight.augment import colours
from firstlight.augment.affine import affine, rotation, shear, translation

Strengths = Float[Tensor, " n"]  # in [-1, 1]
NUM_STRENGTHS = 31  # strengths are multiples of 1 / 30
MAX_DEGREES = 135.0
MAX_CHANGE = 0.99  # of colour, contrast, brightness and sharpness, and of a shear
MIN_BITS = 2

_GEOMETRY: dict[str, Callable[[Strengths, tuple[int, int]], Float[Tensor, "n 2 3"]]] = {
    "shear_x": lambda strengths, _: shear(MAX_CHANGE * strengths, along_x=True),
    "shear_y": lambda strengths, _: shear(MAX_CHANGE * strengths, along_x=False),
    "translate_x": lambda strengths, size_px: translation(size_px[1] * strengths, along_x=True),
    "translate_y": lambda strengths, size_px: translation(size_px[0] * strengths, along_x=False),
    "rotate": lambda strengths, _: rotation(MAX_DEGREES * strengths),
}
_COLOURS: dict[str, Callable[[Images, Strengths], Images]] = {
    "brightness": lambda images, strengths: colours.brightness(images, 1 + MAX_CHANGE * strengths),
    "saturation": lambda images, strengths: colours.saturation(images, 1 + MAX_CHANGE * strengths),
    "contrast": lambda images, strengths: colours.contrast(images, 1 + MAX_CHANGE * strengths),
    "sharpness": lambda images, strengths: colours.sharpness(images, 1 + MAX_CHANGE * strengths),
    "posterize": lambda images, strengths: colours.posterize(
        images, 8 - ((8 - MIN_BITS) * strengths.abs()).round().long()
    ),
    "solarize": lambda images, strengths: colours.solarize(images, 255 * (1 - strengths.abs())),
    "autocontrast": lambda images, _: colours.autocontrast(images),
    "equalize": lambda images, _: colours.equalize(images),
}
OPERATIONS = ("identity", *_GEOMETRY, *_COLOURS)


def trivial_augment(
    images: Images, operations: Int64[Tensor, " n"], strengths: Strengths, fill: UInt8[Tensor, 3]
) -> Images:
    """Apply one operation to each image (Müller and Hutter 2021, "TrivialAugment", arXiv 2103.10158, algorithm 1).

    The operations and their ranges are those of the paper's wide search space (its table 7). A translation moves by
    up to the side of the image, which is the paper's 32 pixels for images of 32x32. Shear and rotation keep the
    centre of the image; pixels from beyond the image have the colour `fill`.

    Args:
        images: Raw pixels, uint8 [n 3 h w].
        operations: Index into `OPERATIONS` for each image, int64 [n].
        strengths: Strength of each operation as a share of the largest, float [n] in [-1, 1]. Operations without a
            direction ignore the sign, `autocontrast` and `equalize` the whole strength.
        fill: Colour of the pixels from beyond the image, uint8 [3].

    Returns:
        A new tensor in the memory layout of `images`, uint8 [n 3 h w].

    >>> grey = torch.full((1, 3, 4, 4), 100, dtype=torch.uint8)
    >>> brightness = torch.tensor([OPERATIONS.index("brightness")])
    >>> trivial_augment(grey, brightness, torch.tensor([1.0]), grey[0, :, 0, 0]).unique().tolist()  # 1.99 times
    [199]
    """
    augmented, size_px = images.clone(), (images.shape[2], images.shape[3])
    for number, name in enumerate(OPERATIONS):
        rows = (operations == number).nonzero().flatten()
        if not len(rows) or name == "identity":
            continue
        chosen, how_strong = images[rows], strengths[rows]
        if name in _GEOMETRY:
            augmented[rows] = affine(chosen, _GEOMETRY[name](how_strong, size_px), fill)
        else:
            augmented[rows] = _COLOURS[name](chosen, how_strong)
    return augmented


def draw_operations(count: int, rng: torch.Generator) -> tuple[Int64[Tensor, " n"], Strengths]:
    """Draw an operation and a strength for each of `count` images, both uniformly."""
    operations = torch.randint(len(OPERATIONS), (count,), generator=rng)
    level = torch.randint(NUM_STRENGTHS, (count,), generator=rng)
    sign = 2 * torch.randint(2, (count,), generator=rng) - 1
    return operations, sign * level / (NUM_STRENGTHS - 1)
