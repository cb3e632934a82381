from __future__ import annotations

import pytest
import torch

from firstlight.attribution import ALL_STAGES, DEFAULT_METHOD, METHODS, explain
from firstlight.attribution.capture import capture
from firstlight.attribution.fusion import fuse
from firstlight.attribution.grad_cam import grad_cam
from firstlight.errors import UsageError

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
    # In an untrained network most of the channels' terms cancel; their sizes, not their sum, are the measure.
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
        explain(network, images, method="score_cam")
