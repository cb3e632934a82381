from __future__ import annotations

import pytest
import torch
from torchcam.methods import GradCAMpp

from firstlight.attribution import explain, positive_evidence
from firstlight.attribution.capture import capture
from firstlight.attribution.grad_cam_pp import grad_cam_pp
from reference.grad_cam_pp_by_derivatives import grad_cam_pp as slow_grad_cam_pp


def test_by_hand(tiny, tiny_image):
    # Class 1: gradients 2 at red's largest cell, 3 at green's. Red sums to 1, green to 2.
    # Weights 2 / (2 + 1 * 2) = 1/2 and 3 / (2 + 2 * 3) = 3/8. Upper left: 0.1 / 2 + 0.8 * 3/8 = 0.35.
    found = explain(tiny, tiny_image, method="grad_cam_pp")
    torch.testing.assert_close(found.maps, torch.tensor([[[0.35, 0.325], [0.3, 0.275]]]))


@pytest.mark.parametrize("pool", ["max", "mean"])
def test_equals_third_derivatives_of_the_exponential(pool):
    draw = torch.Generator().manual_seed(0)
    activations = torch.rand(4, 2, 3, generator=draw, dtype=torch.float64, requires_grad=True)
    head = torch.randn(4, generator=draw, dtype=torch.float64)

    def score(stage_output: torch.Tensor) -> torch.Tensor:
        flat = stage_output.flatten(1)
        return (flat.amax(dim=1) if pool == "max" else flat.mean(dim=1)) @ head

    value = score(activations)
    (gradients,) = torch.autograd.grad(value, activations)
    found = grad_cam_pp(activations.detach()[None], gradients[None])[0]
    expected = slow_grad_cam_pp(activations.detach(), score)
    # The paper's weights have the factor exp(score), the same for the whole image.
    torch.testing.assert_close(found * value.detach().exp(), expected)


def test_negative_activation_sums_do_not_blow_up():
    # A sum of -1 and a gradient of 2: 2 g^2 + S g^3 = 8 - 8 = 0. The sum counts as 0: weight 2 / 2.
    activations = torch.tensor([[[[-1.5, 0.5]]]])
    gradients = torch.tensor([[[[2.0, 0.0]]]])
    torch.testing.assert_close(grad_cam_pp(activations, gradients), activations[:, 0])


def test_tiny_gradients_do_not_underflow():
    gradients = torch.tensor([[[[1e-20, 0.0]]]])  # its square is 0 in float32
    found = grad_cam_pp(torch.ones(1, 1, 1, 2), gradients)
    torch.testing.assert_close(found, torch.full((1, 1, 2), 0.5e-20), atol=0.0, rtol=1e-6)


def test_torchcam_omits_the_denominator(network, images):
    """torchcam 0.5.0 computes alphas of g^2, because its division acts on a copy.

    With that convention, weights sum_ij max(g, 0)^3, our activations and gradients give its map to 1e-5.
    """
    classes = [3, 1, 4, 1, 5]
    for stage in network.stages:
        with GradCAMpp(network, stage) as torchcam:
            (expected,) = torchcam(classes, network(images), normalized=False)
        with capture(network, [stage]) as captured:
            score = network(images)[torch.arange(5), torch.tensor(classes)]
            gradients, activations = captured.gradients(score)[stage], captured.activations[stage]
        weights = torch.relu(gradients).pow(3).sum(dim=(2, 3), keepdim=True)
        found = positive_evidence((weights * activations).sum(dim=1))
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * float(expected.max()))


def test_equals_torchcam_where_one_channel_leaves_only_the_scale(tiny, tiny_image):
    # With a single channel the weight is a scale: the maps agree after division by their largest values.
    with torch.no_grad():
        tiny.head.weight[:, 0] = 0.0
        tiny.colour.weight[0] = 0.0
    with GradCAMpp(tiny, "colour") as torchcam:
        (expected,) = torchcam([1], tiny(tiny_image), normalized=False)
    found = explain(tiny, tiny_image, method="grad_cam_pp", target=torch.tensor([1])).maps
    torch.testing.assert_close(found / found.max(), expected / expected.max(), rtol=1e-5, atol=1e-6)
