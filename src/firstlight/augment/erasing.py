"""Random erasing: fill a rectangle of random size, shape and position with one colour."""

from __future__ import annotations

import torch
from jaxtyping import UInt8
from torch import Tensor

from firstlight.arrays import Images
from firstlight.augment.boxes import Boxes, inside

AREA = (0.02, 0.4)  # share of the image; the values of the paper's section 4.2
ASPECT = (0.3, 1 / 0.3)  # height divided by width


def erase(images: Images, boxes: Boxes, fill: UInt8[Tensor, 3]) -> Images:
    """Fill a box of each image with a colour.

    This is random erasing (Zhong et al. 2020, "Random Erasing Data Augmentation", arXiv 1708.04896, algorithm 1) in
    its variant RE-M, which fills with the mean colour.

    Args:
        images: Raw pixels, uint8 [n 3 h w].
        boxes: Box of each image, int64 [n 4]; an empty box leaves the image unchanged.
        fill: Colour of the boxes, uint8 [3].

    Returns:
        A new tensor, uint8 [n 3 h w].

    >>> white = torch.full((1, 3, 2, 3), 255, dtype=torch.uint8)
    >>> erase(white, torch.tensor([[0, 1, 1, 3]]), torch.tensor([9, 9, 9], dtype=torch.uint8))[0, 0].tolist()
    [[255, 9, 9], [255, 255, 255]]
    """
    return torch.where(inside(boxes, (images.shape[2], images.shape[3])), fill[:, None, None], images)


def draw_erased_boxes(share: float, count: int, size_px: tuple[int, int], rng: torch.Generator) -> Boxes:
    """Draw the boxes of random erasing, int64 [count 4].

    Of an image with a pixels, a box covers S = a U(0.02, 0.4) with the aspect ratio r = U(0.3, 1 / 0.3): it is
    sqrt(S r) pixels high and sqrt(S / r) wide. The paper draws again where a box does not fit into the image; here the
    longer side is cut to that of the image.

    Args:
        share: Probability that an image has a box; the other boxes are empty.
        count: Number of boxes.
        size_px: Height and width of the images.
        rng: CPU generator of the random numbers.
    """
    height, width = size_px
    happens, area, aspect, down, right = torch.rand(5, count, generator=rng, dtype=torch.float64)
    area = height * width * (AREA[0] + (AREA[1] - AREA[0]) * area)
    aspect = ASPECT[0] + (ASPECT[1] - ASPECT[0]) * aspect
    rows = (area * aspect).sqrt().round().clamp(1, height)
    columns = (area / aspect).sqrt().round().clamp(1, width)
    top, left = (down * (height - rows + 1)).floor(), (right * (width - columns + 1)).floor()
    boxes = torch.stack([top, top + rows, left, left + columns], dim=1).long()
    return boxes * (happens < share).long()[:, None]
