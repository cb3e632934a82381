"""`explain` with the methods that run the network many times."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from firstlight.attribution import PERTURBING_METHODS, explain, method_names
from firstlight.attribution.fusion import fuse
from firstlight.attribution.perturbing_methods import PIXELS
from firstlight.attribution.rise import rise
from firstlight.errors import UsageError

ON_PIXELS = [name for name, method in PERTURBING_METHODS.items() if method.explains_pixels]
ON_STAGES = [name for name in PERTURBING_METHODS if name not in ON_PIXELS]


@pytest.fixture(autouse=True)
def few_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let RISE use 16 masks, to be fast."""
    quick = PERTURBING_METHODS["rise"]._replace(
        make_maps=lambda queries, _: rise(queries.score, queries.images, queries.covered, num_masks=16)
    )
    monkeypatch.setitem(PERTURBING_METHODS, "rise", quick)


@pytest.mark.parametrize("method", PERTURBING_METHODS)
def test_batches_change_nothing_and_the_network_is_restored(network, images, method):
    network.train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    images, classes = images[:3, :, :8, :8], torch.arange(3)
    whole = explain(network, images, method=method, target=classes)
    parts = explain(network, images, method=method, target=classes, batch_size=2)
    torch.testing.assert_close(parts.maps, whole.maps, rtol=1e-3, atol=1e-4 * float(whole.maps.abs().max()))
    assert network.training
    assert all(tensor.equal(before[name]) for name, tensor in network.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in network.parameters())
    assert not network.residual3._forward_hooks


@pytest.mark.parametrize("method", ON_PIXELS)
def test_methods_of_pixels_have_a_value_for_each_and_no_stage(network, images, method):
    found = explain(network, images[:1, :, :8, :12], method=method)
    assert (found.stage, found.maps.shape) == (PIXELS, (1, 8, 12))
    with pytest.raises(UsageError, match=f"{method} explains pixels and has no stage"):
        explain(network, images, method=method, stage="layer3")
    found = explain(nn.Sequential(network), images[:1, :, :8, :8], method=method)  # needs no named stages
    assert found.maps.any()


@pytest.mark.parametrize("method", ON_STAGES)
def test_the_maps_of_all_stages_are_fused(network, images, method):
    images = images[:1, :, :8, :8]
    each = [explain(network, images, method=method, stage=stage).maps for stage in network.stages]
    fused = explain(network, images, method=method, stage="all").maps
    torch.testing.assert_close(fused, fuse(each, (8, 8)), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("method", ["ablation_cam", "integrated_gradients", "occlusion", "rise"])
def test_a_contrast_is_the_difference_of_two_maps(network, images, method):
    images, labels = images[:2, :, :8, :8], torch.tensor([1, 1])
    predicted, true, contrast = (
        explain(network, images, method=method, target=target, labels=labels).maps
        for target in ("predicted", "true", "contrast")
    )
    torch.testing.assert_close(contrast, predicted - true, rtol=1e-3, atol=1e-4 * float(predicted.abs().max()))


@pytest.mark.parametrize("method", PERTURBING_METHODS)
def test_works_in_inference_mode(network, images, method):
    with torch.inference_mode():
        found = explain(network, images[:1, :, :8, :8], method=method)
    assert found.maps.dtype == torch.float32
    assert found.maps.isfinite().all()


@pytest.mark.parametrize("method", ["score_cam", "occlusion"])
def test_maps_in_bfloat16_are_float32(network, images, method):
    found = explain(network, images[:1, :, :8, :8], method=method, stage=None, precision="bf16")
    assert found.maps.dtype == torch.float32
    assert found.maps.isfinite().all()


def test_an_unknown_method_is_refused_with_all_names(network, images):
    with pytest.raises(UsageError, match=r"no method is called 'gradcam': choose one of grad_cam, .*, rise"):
        explain(network, images, method="gradcam")
    assert len(method_names()) == 12
