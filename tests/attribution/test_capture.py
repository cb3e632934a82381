from __future__ import annotations

import gc
import resource
import sys

import pytest
import torch
from torch import Tensor, nn

from firstlight.attribution import explain
from firstlight.attribution.capture import capture, find_stages
from firstlight.errors import UsageError


def state_of(network: nn.Module) -> dict[str, list[object]]:
    """Everything that must be restored."""
    return {
        "hooks": [
            len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in network.modules()
        ],
        "modes": [m.training for m in network.modules()],
        "flags": [p.requires_grad for p in network.parameters()],
        "gradients": [None if p.grad is None else p.grad.numpy().tobytes() for p in network.parameters()],
        "weights": [t.numpy().tobytes() for t in network.state_dict().values()],
    }


@pytest.fixture
def in_training(network):
    """A network in training, with gradients, one frozen part, and one norm in eval mode."""
    network.train()
    network.prep.norm.eval()
    network.layer1.conv.weight.requires_grad_(False)
    for number, parameter in enumerate(network.parameters()):
        if parameter.requires_grad and number % 2:
            parameter.grad = torch.full_like(parameter, 0.5)
    return network


def test_activations_include_the_residual_sum(network, images):
    with capture(network, ["layer3", "residual3"]) as captured:
        network(images)
        before, after = captured.activations["layer3"], captured.activations["residual3"]
        torch.testing.assert_close(after, before + network.residual3.branch(before))


def test_gradients_equal_those_of_a_plain_graph(network, images):
    with capture(network, network.stages) as captured:
        found = captured.gradients(network(images)[:, 2])
    x = network.normalize(images)
    outputs = []
    for stage in network.stages:
        x = network.get_submodule(stage)(x)
        outputs.append(x)
    score = network.head(network.pool(x).flatten(1))[:, 2].sum()
    for stage, expected in zip(network.stages, torch.autograd.grad(score, outputs), strict=True):
        torch.testing.assert_close(found[stage], expected)


def test_two_scores_of_one_forward_pass(network, images):
    with capture(network, ["layer2"]) as captured:
        logits = network(images)
        first = captured.gradients(logits[:, 0], retain_graph=True)["layer2"]
        second = captured.gradients(logits[:, 1], retain_graph=True)["layer2"]
        difference = captured.gradients(logits[:, 0] - logits[:, 1])["layer2"]
    torch.testing.assert_close(difference, first - second)


def test_the_network_is_restored(in_training, images):
    before = state_of(in_training)
    for stage in (*in_training.stages, "all"):
        explain(in_training, images, stage=stage)
    assert state_of(in_training) == before


def test_the_network_is_restored_after_an_error_in_the_block(in_training, images):
    before = state_of(in_training)
    captured = None
    try:
        with capture(in_training, in_training.stages) as captured:
            in_training(images)
            raise ZeroDivisionError
    except ZeroDivisionError:
        assert captured is not None
        assert captured.activations == {}
    assert state_of(in_training) == before


@pytest.mark.parametrize("stage", ["residual3", "layer1", "all"])
def test_the_network_is_restored_after_an_error_in_the_network(in_training, images, stage):
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    in_training.head.register_forward_hook(fail)
    before = state_of(in_training)
    with pytest.raises(ZeroDivisionError):
        explain(in_training, images, stage=stage)
    assert state_of(in_training) == before


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize("stage", ["prep", "residual3", "all"])
def test_works_inside_the_callers_mode(network, images, stage, context):
    labels = torch.arange(5)
    expected = explain(network, images, stage=stage, target="contrast", labels=labels)
    with context():
        found = explain(network, images * 1, stage=stage, target="contrast", labels=labels * 1)
        assert torch.is_inference_mode_enabled() == (context is torch.inference_mode)
        assert torch.is_grad_enabled() == (context is torch.enable_grad)
    torch.testing.assert_close(found.maps, expected.maps)
    assert not found.maps.requires_grad


def test_inference_tensor_as_a_stages_output():
    network = nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(4, 2))
    with torch.inference_mode():
        image = torch.rand(1, 1, 2, 2)
        with capture(network, ["0"]) as captured:
            gradient = captured.gradients(network(image)[:, 1])["0"]
    torch.testing.assert_close(gradient.flatten(), network[2].weight[1])


def test_an_in_place_layer_does_not_change_the_recorded_activations():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3), nn.ReLU(inplace=True))
    images = torch.rand(2, 3, 8, 8)
    with capture(network, ["0", "2"]) as captured:
        captured.gradients(network(images).sum(dim=(1, 2, 3)))
        torch.testing.assert_close(captured.activations["0"], network[0](images))
        assert (captured.activations["2"] < 0).any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("stage", ["layer2", "residual3"])
def test_works_in_half_precision(network, images, stage, dtype):
    expected = explain(network, images, stage=stage, target=torch.arange(5)).maps
    found = explain(network.to(dtype), images, stage=stage, target=torch.arange(5)).maps
    assert found.dtype == torch.float32
    # layer2's gradient goes through max pools, where rounding can change the maximum.
    assert (found - expected).abs().mean() < 0.1 * expected.abs().mean()


def test_works_inside_autocast_and_leaves_its_cache_usable_for_training(network, images):
    with torch.autocast("cpu", torch.bfloat16):
        explain(network, images)
        explain(network, images, stage="layer1", precision="bf16")
        network.train()(images).float().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_a_score_that_does_not_depend_on_the_stage_is_refused(network, images):
    with capture(network, ["layer1"]) as captured:
        network(images)
        with pytest.raises(UsageError, match="does not depend on all of: layer1"):
            captured.gradients(torch.ones(5, requires_grad=True) * 2)


def test_a_stage_that_returns_no_tensor_is_refused():
    class Pair(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x

    network = nn.Sequential(Pair())
    with capture(network, ["0"]), pytest.raises(UsageError, match="returns a tuple"):
        network(torch.ones(1))


def test_finds_stages_by_name_path_and_identity(network):
    found = find_stages(network, ["layer1", "residual1.branch.0", network.residual3])
    assert list(found) == ["layer1", "residual1.branch.0", "residual3"]
    assert found["residual1.branch.0"] is network.residual1.branch[0]


@pytest.mark.parametrize("stage", ["layer4", "", nn.ReLU()])
def test_the_error_lists_the_stages(network, stage):
    with pytest.raises(UsageError, match=r"no stage .*: try prep, layer1, residual1, layer2, layer3, residual3"):
        explain(network, torch.rand(1, 3, 32, 32), stage=stage)


def test_memory_does_not_grow(tiny, tiny_image):
    def live_tensors() -> int:
        gc.collect()
        return sum(issubclass(type(each), Tensor) for each in gc.get_objects())

    image = tiny_image.repeat(16, 1, 16, 16)  # 192 KiB: 200 calls that kept a copy each would hold 38 MiB
    for stage in ("colour", "all"):
        explain(tiny, image, stage=stage)
    tensors, peak = live_tensors(), peak_memory_mib()
    for call in range(200):
        explain(tiny, image, stage="colour" if call % 2 else "all", method="layer_cam")
    assert live_tensors() == tensors
    assert peak_memory_mib() < peak + 19


def peak_memory_mib() -> float:
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
