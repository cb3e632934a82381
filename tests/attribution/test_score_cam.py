from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from torchcam.methods import ScoreCAM

from firstlight.attribution import explain, positive_evidence
from firstlight.attribution.capture import capture
from firstlight.attribution.score_cam import score_cam

CLASSES = torch.tensor([3, 1, 4, 1, 5])


def test_equals_torchcam_where_the_map_is_as_large_as_the_image(network, images):
    """torchcam masks with black, and scales a mask before it enlarges it."""
    images = images[:, :, :8, :8]
    with torch.no_grad(), ScoreCAM(network, "prep") as torchcam:
        (expected,) = torchcam(CLASSES.tolist(), network(images), normalized=False)
    with capture(network, ["prep"], with_gradients=False) as captured, torch.no_grad():
        network(images)
        activations = captured.activations["prep"]
    with torch.no_grad():
        score = lambda masked: network(masked)[torch.arange(5), CLASSES]  # noqa: E731
        found = score_cam(score, images, activations, torch.zeros_like(images))
    torch.testing.assert_close(positive_evidence(found), expected, rtol=1e-4, atol=1e-4 * float(expected.max()))


@pytest.mark.parametrize("stage", ["layer2", "residual3"])
def test_equals_a_slow_loop(network, images, stage):
    found = explain(network, images, method="score_cam", stage=stage, target=CLASSES)
    with capture(network, [stage], with_gradients=False) as captured, torch.no_grad():
        network(images)
        activations = captured.activations[stage]
    covered = network.normalize.mean.expand_as(images)
    for row, label in enumerate(CLASSES):
        weights = []
        channels = [channel for channel in activations[row] if channel.max() > channel.min()]
        for channel in channels:
            enlarged = F.interpolate(channel[None, None], size=(32, 32), mode="bilinear")[0]
            mask = (enlarged - enlarged.min()) / (enlarged.max() - enlarged.min())
            masked = mask * images[row] + (1 - mask) * covered[row]
            with torch.no_grad():
                weights.append(network(masked[None])[0, label] - network(covered[row : row + 1])[0, label])
        expected = sum(
            weight * channel for weight, channel in zip(torch.stack(weights).softmax(0), channels, strict=True)
        )
        torch.testing.assert_close(found.maps[row], expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_a_constant_channel_has_no_weight():
    activations = torch.tensor([[[[5.0, 5.0]], [[0.0, 1.0]]]])
    images = torch.rand(1, 3, 1, 2)
    found = score_cam(lambda masked: masked.sum(dim=(1, 2, 3)), images, activations, torch.zeros_like(images))
    torch.testing.assert_close(found, torch.tensor([[[0.0, 1.0]]]))
    only_constant = score_cam(lambda x: x.sum(dim=(1, 2, 3)), images, activations[:, :1], torch.zeros_like(images))
    assert not only_constant.any()
