from __future__ import annotations

import pytest
import torch
from captum.attr import LayerFeatureAblation

from firstlight.attribution import explain
from firstlight.attribution.capture import capture


@pytest.mark.parametrize("stage", ["prep", "layer3", "residual3"])
def test_the_weights_are_captums_ablations_of_whole_channels(network, images, stage):
    classes = torch.tensor([3, 1, 4, 1, 5])
    module = network.get_submodule(stage)
    with capture(network, [stage], with_gradients=False) as captured, torch.no_grad():
        network(images)
        activations = captured.activations[stage]
    channels = torch.arange(activations.shape[1])[:, None, None].expand(1, *activations.shape[1:])
    with torch.no_grad():
        falls = LayerFeatureAblation(network, module).attribute(images, target=classes, layer_mask=channels)
    expected = (falls * activations).sum(dim=1)
    found = explain(network, images, method="ablation_cam", stage=stage, target=classes)
    torch.testing.assert_close(found.maps, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_reshape_is_refused(network, images):
    from firstlight.errors import UsageError

    with pytest.raises(UsageError, match="ablation_cam cannot take reshape"):
        explain(network, images, method="ablation_cam", reshape=lambda maps: maps)
