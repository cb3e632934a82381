from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from firstlight.attribution import ALL_STAGES, DEFAULT_METHOD, METHODS, explain
from firstlight.attribution.capture import capture
from firstlight.attribution.fusion import fuse
from firstlight.attribution.grad_cam import grad_cam
from firstlight.errors import UsageError
from reference.unchecked import without_type_checks

SIZES = {"prep": 32, "layer1": 16, "residual1": 16, "layer2": 8, "layer3": 4, "residual3": 4, "all": 32}


@pytest.mark.parametrize(("stage", "size"), SIZES.items())
def test_sizes(network, images, stage, size):
    found = explain(network, images, stage=stage)
    assert (found.stage, found.method, len(found)) == (stage, DEFAULT_METHOD, 5)
    assert found.maps.shape == (5, size, size)
    assert found.upsampled().shape == (5, 32, 32)
    assert found.upsampled((224, 224)).shape == (5, 224, 224)
    assert found.maps.dtype == torch.float32


def test_logits_and_classes_are_the_networks(network, images):
    found = explain(network, images)
    torch.testing.assert_close(found.logits, network(images).detach())
    assert found.classes.equal(found.logits.argmax(dim=1))
    assert found.against is None


def test_contrast_names_both_classes(network, images):
    labels = torch.tensor([1, 1, 1, 1, 1])
    found = explain(network, images, target="contrast", labels=labels)
    assert found.against.equal(labels)
    predicted, true = explain(network, images), explain(network, images, target="true", labels=labels)
    torch.testing.assert_close(found.maps, predicted.maps - true.maps)  # Grad-CAM is linear in the score


def test_a_contrast_with_itself_has_no_evidence(network, images):
    predicted = explain(network, images).classes
    found = explain(network, images, target="contrast", labels=predicted)
    assert not found.maps.any()
    assert not found.has_positive_evidence.any()


@pytest.mark.parametrize("stage", ["layer1", "residual3", "all"])
@pytest.mark.parametrize("method", METHODS)
def test_batches_change_nothing(network, images, method, stage):
    whole = explain(network, images, method=method, stage=stage, target=torch.arange(5))
    parts = explain(network, images, method=method, stage=stage, target=torch.arange(5), batch_size=2)
    torch.testing.assert_close(parts.maps, whole.maps, rtol=1e-5, atol=1e-6)
    assert parts.classes.equal(whole.classes)


def test_all_stages_is_the_fusion_of_each(network, images):
    single = [explain(network, images, method="hires_cam", stage=stage).maps for stage in network.stages]
    fused = explain(network, images, method="hires_cam", stage=ALL_STAGES)
    torch.testing.assert_close(fused.maps, fuse(single, (32, 32)), rtol=1e-4, atol=1e-5)


def test_bfloat16_stays_within_two_percent(full_network, images):
    expected = explain(full_network, images).maps
    found = explain(full_network, images, precision="bf16").maps
    assert found.dtype == torch.float32
    # In an untrained network most terms cancel, so errors are relative to their sizes, not to their sum.
    with capture(full_network, ["residual3"]) as captured:
        gradients = captured.gradients(full_network(images).amax(dim=1))
        terms = grad_cam(captured.activations["residual3"].abs(), gradients["residual3"].abs())
    assert ((found - expected).abs() < 0.02 * terms.amax(dim=(1, 2), keepdim=True)).all()


def test_no_images(network):
    found = explain(network, torch.rand(0, 3, 32, 32))
    assert found.maps.shape == (0, 4, 4)
    assert found.has_positive_evidence.tolist() == []


def test_other_image_sizes(network):
    found = explain(network, torch.rand(2, 3, 48, 64))
    assert found.maps.shape == (2, 6, 8)
    assert found.upsampled().shape == (2, 48, 64)


def test_a_module_as_stage(network, images):
    found = explain(network, images, stage=network.residual3)
    assert found.stage == "residual3"
    assert found.maps.equal(explain(network, images).maps)


def test_a_network_without_named_stages():
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 2))
    image = torch.rand(1, 3, 8, 8)
    assert explain(network, image, stage="0").maps.shape == (1, 6, 6)
    with pytest.raises(UsageError, match="has no `stages`"):
        explain(network, image)


def test_an_unknown_method(network, images):
    with pytest.raises(UsageError, match="choose one of grad_cam, grad_cam_pp, hires_cam, layer_cam"):
        explain(network, images, method="guided_backprop")


class TokenNet(nn.Module):
    """A network of patches whose block takes tokens [n t c], or the same numbers as maps [n c h w]."""

    def __init__(self, as_tokens: bool) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.as_tokens = as_tokens
        self.patch, self.block, self.head = nn.Conv2d(3, 8, 4, 4), nn.Conv2d(8, 8, 1), nn.Linear(8, 5)
        if as_tokens:
            linear = nn.Linear(8, 8)
            linear.load_state_dict({"weight": self.block.weight.detach()[:, :, 0, 0], "bias": self.block.bias.detach()})
            self.block = linear

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        patches = self.patch(images)
        if not self.as_tokens:
            return self.head(self.block(patches).relu().mean(dim=(2, 3)))
        return self.head(self.block(patches.flatten(2).transpose(1, 2)).relu().mean(dim=1))


@pytest.mark.parametrize("method", ["grad_cam", "grad_cam_pp", "hires_cam", "layer_cam"])
def test_tokens_are_reshaped_to_maps(method):
    images = torch.rand(2, 3, 12, 20)
    expected = explain(TokenNet(as_tokens=False), images, method=method, stage="block", target=3)
    found = explain(
        TokenNet(as_tokens=True),
        images,
        method=method,
        stage="block",
        target=3,
        reshape=lambda tokens: tokens.transpose(1, 2).unflatten(2, (3, 5)),
    )
    torch.testing.assert_close(found.maps, expected.maps)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"stage": 3}, "a stage is a name or a module of the network, not 3: prep, layer1"),
        ({"stage": ["layer1"]}, "a stage is a name or a module"),
        ({"precision": "fp16"}, "no precision is called 'fp16': choose one of as_is, bf16"),
        ({"batch_size": 0}, "batch_size must be 1 or more"),
        ({"target": np.array([0, 1])}, "unknown target"),
        ({"target": "true", "labels": [0, 1, 2, 3, 4]}, "labels must be a tensor of class numbers"),
    ],
)
def test_arguments_of_another_kind_are_named(network, images, options, expected):
    with without_type_checks(), pytest.raises(UsageError, match=expected):
        explain(network, images, **options)


def test_images_that_are_no_tensor_are_named(network, images):
    with without_type_checks(), pytest.raises(UsageError, match=r"images must be a tensor, .* not ndarray"):
        explain(network, images.numpy())


def test_an_integer_of_numpy_is_a_class(network, images):
    with without_type_checks():
        assert explain(network, images, target=np.int64(2)).classes.tolist() == [2] * 5


def test_a_stage_that_does_not_run_is_named():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    network[0].unused = nn.Conv2d(3, 4, 3)
    with pytest.raises(UsageError, match=r"does not run its stage 0\.unused"):
        explain(network, torch.rand(1, 3, 8, 8), stage="0.unused")


def test_one_image_is_a_batch_of_one(network, images):
    assert explain(network, images[0]).maps.equal(explain(network, images[:1]).maps)


def test_errors_say_what_is_wrong_with_the_stage_the_images_or_the_output(network, images):
    tokens = TokenNet(as_tokens=True)
    pictures = torch.rand(2, 3, 12, 20)
    with pytest.raises(UsageError, match=r"stage block returns tokens, \[2, 15, 8\].* give reshape"):
        explain(tokens, pictures, stage="block")
    with pytest.raises(UsageError, match=r"reshape returns \[2, 8, 15\] for stage block"):
        explain(tokens, pictures, stage="block", reshape=lambda output: output.transpose(1, 2))
    with pytest.raises(UsageError, match=r"stage head returns \[2, 5\].* The network has patch, block, head"):
        explain(tokens, pictures, stage="head")
    with pytest.raises(UsageError, match="no stage layer9: try patch, block, head"):
        explain(tokens, pictures, stage="layer9")
    with pytest.raises(UsageError, match=r"the network returns \[2, 8, 3, 5\], not logits"):
        explain(nn.Sequential(tokens.patch), pictures, stage="0")
    with without_type_checks(), pytest.raises(UsageError, match=r"not \[32, 32\]"):
        explain(network, images[0, 0])
    wrapped = nn.Module()
    wrapped.network = network
    with pytest.raises(UsageError, match="explain its attribute `network`"):
        explain(wrapped, images)
