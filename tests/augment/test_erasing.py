from __future__ import annotations

import numpy as np
import torch

from firstlight.augment.erasing import draw_erased_boxes, erase

FILL = torch.tensor([10, 20, 30], dtype=torch.uint8)


def test_the_pixels_of_each_box_and_no_others_are_filled() -> None:
    images = torch.randint(40, 256, (5, 3, 4, 6), dtype=torch.uint8)
    boxes = torch.tensor([[0, 4, 0, 6], [1, 2, 3, 4], [0, 0, 0, 0], [2, 4, 0, 3], [3, 9, 5, 9]])
    expected = images.numpy().copy()
    for image, (top, bottom, left, right) in zip(expected, boxes.tolist(), strict=True):
        image[:, top:bottom, left:right] = FILL.numpy()[:, None, None]
    assert np.array_equal(erase(images, boxes, FILL).numpy(), expected)
    channels_last = images.to(memory_format=torch.channels_last)
    assert erase(channels_last, boxes, FILL).is_contiguous(memory_format=torch.channels_last)


def test_boxes_lie_in_the_image_and_have_the_sizes_of_the_paper() -> None:
    height, width, count = 32, 48, 20_000
    boxes = draw_erased_boxes(0.25, count, (height, width), torch.Generator().manual_seed(0))
    top, bottom, left, right = boxes[boxes.any(dim=1)].T
    assert abs(len(top) / count - 0.25) < 0.02
    assert (int(top.min()), int(left.min()), int(bottom.max()), int(right.max())) == (0, 0, height, width)
    area = (bottom - top) * (right - left) / (height * width)
    assert abs(float(area.double().mean()) - 0.205) < 0.01  # the mean of U(0.02, 0.4), less what is cut off
    assert ((area > 0.01) & (area < 0.42)).all()
