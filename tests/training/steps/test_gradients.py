"""A step's gradients without autograd, against autograd."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from firstlight.backprop.selective import training_logits
from firstlight.networks import StagedNetwork
from firstlight.networks.resnet9 import ResNet9, ResNet9Config
from firstlight.networks.speednet import SpeedNet, SpeedNetConfig
from firstlight.recipes.config import Recipe
from firstlight.training.steps.gradients import step_gradients, supports_step_gradients
from firstlight.training.steps.importance import largest_gradients
from firstlight.training.steps.losses import Losses
from firstlight.training.steps.step import AutogradStep
from reference.unchecked import printed_apart

NUM_IMAGES, SMOOTHING = 12, 0.2
NETWORKS = {
    "speednet": lambda: SpeedNet(5, SpeedNetConfig(width=4, pad_patches=True, deep_groups=1)),
    "plain speednet": lambda: SpeedNet(5, SpeedNetConfig(width=4)),
    "resnet9": lambda: ResNet9(5, ResNet9Config(width=2)),
}


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest) -> StagedNetwork:
    torch.manual_seed(0)
    made = NETWORKS[request.param]()
    made.init_from_data(torch.randint(0, 256, (50, 3, 32, 32)).byte())
    return made.double().to(memory_format=torch.channels_last).train()


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    images = torch.rand(NUM_IMAGES, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return images.contiguous(memory_format=torch.channels_last), torch.arange(NUM_IMAGES) % 5


def by_autograd(
    network: StagedNetwork, images: Tensor, labels: Tensor, chosen: Tensor, *, skip_zero_gradients: bool = False
) -> dict[str, Tensor]:
    """Return autograd's gradients of the mean loss of the chosen images; logits are float32 as in training."""
    logits = training_logits(network, images, skip_zero_gradients=True) if skip_zero_gradients else network(images)
    losses = F.cross_entropy(logits, labels, label_smoothing=SMOOTHING, reduction="none")
    (losses * chosen).mean().backward()
    return {name: each.grad for name, each in network.named_parameters() if each.grad is not None}


def assert_close(network: StagedNetwork, found: list[Tensor], expected: dict[str, Tensor]) -> None:
    names = [name for name, each in network.named_parameters() if each.requires_grad]
    assert names == list(expected)
    for name, gradient in zip(names, found, strict=True):
        assert (gradient - expected[name]).norm() <= 1e-5 * expected[name].norm(), name  # logits are float32


def test_gradients_of_all_images_equal_autograds(network: StagedNetwork, batch: tuple[Tensor, Tensor]) -> None:
    twin, (images, labels) = copy.deepcopy(network), batch
    losses, found = step_gradients(network, images, labels, SMOOTHING)
    assert_close(network, found, by_autograd(twin, images, labels, torch.ones(NUM_IMAGES)))
    for (name, one), other in zip(network.named_buffers(), twin.buffers(), strict=True):
        assert torch.equal(one, other), name
    logits = copy.deepcopy(twin).train()(images).float()
    torch.testing.assert_close(losses.smoothed, F.cross_entropy(logits, labels, label_smoothing=0.2, reduction="none"))
    torch.testing.assert_close(losses.plain, F.cross_entropy(logits, labels, reduction="none"))
    assert float(losses.mean) == pytest.approx(float(losses.smoothed.mean()))
    assert float(losses.accuracy) == pytest.approx(float((logits.argmax(dim=1) == labels).double().mean()))


@pytest.mark.parametrize("max_images", [NUM_IMAGES, 3])
def test_gradients_of_some_images_equal_those_of_a_masked_loss(
    network: StagedNetwork, batch: tuple[Tensor, Tensor], max_images: int
) -> None:
    """The smallest set that holds the share, limited to the requested number of images."""
    twin, (images, labels) = copy.deepcopy(network), batch
    logits = copy.deepcopy(network)(images).float()
    chosen = largest_gradients(logits.detach(), labels, 0.6, SMOOTHING)
    assert 3 < chosen.sum() < NUM_IMAGES
    if max_images == 3:
        target = F.one_hot(labels, 5) * 0.8 + 0.04
        order = (logits.softmax(dim=1) - target).norm(dim=1).argsort(descending=True)
        chosen = torch.zeros(NUM_IMAGES).index_fill(0, order[:3], 1)
    _, found = step_gradients(network, images, labels, SMOOTHING, 0.6, max_images)
    # Without a limit all 12 images are in the backward pass; those beyond the share have zero gradients.
    expected = by_autograd(twin, images, labels, chosen, skip_zero_gradients=max_images == 3)
    assert_close(network, found, expected)


def test_frozen_parameters_have_no_gradient(network: StagedNetwork, batch: tuple[Tensor, Tensor]) -> None:
    first = network.get_submodule(network.stages[0])
    first.requires_grad_(False)
    _, found = step_gradients(network, *batch)
    assert len(found) == sum(each.requires_grad for each in network.parameters())


COMPILED = """
import copy, torch
from firstlight.networks import ResNet9, SpeedNet
from firstlight.networks.resnet9 import ResNet9Config
from firstlight.networks.speednet import SpeedNetConfig
from firstlight.recipes.config import Recipe
from firstlight.training.steps.gradients import step_gradients

compiled = torch.compile(step_gradients, fullgraph=True, dynamic=False, backend="aot_eager")
images, labels = torch.rand(12, 3, 16, 16).contiguous(memory_format=torch.channels_last), torch.arange(12) % 5
for make in (
    lambda: SpeedNet(5, SpeedNetConfig(width=4, pad_patches=True, deep_groups=1)),
    lambda: ResNet9(5, ResNet9Config(width=2)),
):
    for share in (1.0, 0.6):
        for stance in ("default", "fail_on_recompile"):  # a second network needs nothing new
            one = make().to(memory_format=torch.channels_last).train()
            other = copy.deepcopy(one)
            expected_losses, expected = step_gradients(one, images, labels, 0.2, share, 7)
            with torch.compiler.set_stance(stance):
                losses, found = compiled(other, images, labels, 0.2, share, 7)
            for a, b in zip([*found, *losses], [*expected, *expected_losses], strict=True):
                assert (a - b).norm() <= 1e-4 * b.norm()
            for a, b in zip(one.buffers(), other.buffers(), strict=True):
                torch.testing.assert_close(a, b)
print("compiled")
"""


@pytest.mark.slow
def test_step_gradients_compile_without_a_graph_break() -> None:
    """Without a break."""
    assert printed_apart(COMPILED) == "compiled\n"


def test_only_networks_with_the_standard_forward_pass_are_supported() -> None:
    class Doubled(SpeedNet):
        def features(self, images: Tensor) -> Tensor:
            return 2 * super().features(images)

    config = SpeedNetConfig(width=4)
    assert supports_step_gradients(SpeedNet(5, config))
    assert not supports_step_gradients(Doubled(5, config))
    with_sigmoid = SpeedNet(5, config)
    with_sigmoid.group2.add_module("more", nn.Sigmoid())
    assert not supports_step_gradients(with_sigmoid)
    hooked = SpeedNet(5, config)
    for register in (hooked.group1.register_forward_hook, hooked.group1.register_full_backward_hook):
        handle = register(lambda *_: None)
        assert not supports_step_gradients(hooked)
        handle.remove()
        assert supports_step_gradients(hooked)


def test_losses_by_hand() -> None:
    found = Losses.of(torch.tensor([[0.0, 0.0], [0.0, 1000.0]]), torch.tensor([0, 1]), label_smoothing=0.0)
    torch.testing.assert_close(found.plain, torch.tensor([2.0, 1.0]).log())
    assert float(found.mean) == pytest.approx(torch.tensor(2.0).log().item() / 2)
    assert float(found.accuracy) == 1


def test_the_step_of_autograd_leaves_out_all_images_that_are_not_chosen(
    network: StagedNetwork, batch: tuple[Tensor, Tensor]
) -> None:
    """Its gradients are those of `step_gradients` with as many images as are chosen, and differ without that limit."""
    images, labels = batch
    twin, unlimited = copy.deepcopy(network), copy.deepcopy(network)
    logits = copy.deepcopy(network)(images).float()
    num_chosen = int(largest_gradients(logits.detach(), labels, 0.6, SMOOTHING).sum())
    assert num_chosen < NUM_IMAGES
    step = AutogradStep(twin, Recipe(name="some", gradient_share=0.6, label_smoothing=SMOOTHING))
    step(images, labels, 0.0)[1].backward()
    expected = {name: each.grad for name, each in twin.named_parameters() if each.grad is not None}
    assert_close(network, step_gradients(network, images, labels, SMOOTHING, 0.6, num_chosen)[1], expected)
    with pytest.raises(AssertionError):
        assert_close(unlimited, step_gradients(unlimited, images, labels, SMOOTHING, 0.6)[1], expected)
