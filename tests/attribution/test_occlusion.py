from __future__ import annotations

import pytest
import torch
from captum.attr import Occlusion

from firstlight.attribution import explain
from firstlight.attribution.occlusion import occlusion, positions

CLASSES = torch.tensor([3, 1, 4, 1, 5])


def test_equals_captum(network, images):
    covered = network.normalize.mean.expand_as(images)
    with torch.no_grad():
        expected = Occlusion(network).attribute(
            images, sliding_window_shapes=(3, 8, 8), strides=(3, 4, 4), target=CLASSES, baselines=covered
        )[:, 0]
    found = explain(network, images, method="occlusion", target=CLASSES)
    torch.testing.assert_close(found.maps, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("size", [(5, 9), (1, 1)])
def test_windows_of_one_pixel_measure_each_pixel(size):
    images = torch.rand(2, 3, *size)
    found = occlusion(lambda x: x[:, 1].sum(dim=(1, 2)), images, torch.zeros_like(images), window_px=1, stride_px=1)
    torch.testing.assert_close(found, images[:, 1])


@pytest.mark.parametrize(("length", "window", "stride"), [(32, 8, 4), (33, 8, 4), (5, 8, 4), (8, 8, 4), (9, 2, 1)])
def test_the_windows_cover_the_line(length, window, stride):
    starts = positions(length, window, stride)
    covered = {pixel for start in starts for pixel in range(start, min(start + window, length))}
    assert covered == set(range(length))
    assert starts == sorted(set(starts))
