from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from firstlight.layers.residual import Residual
from firstlight.networks import ResNet9, ResNet9Config
from reference.macs import count_macs
from reference.plain_resnet9 import IN_ORDER, plain_maps

STAGES = ("prep", "layer1", "residual1", "layer2", "layer3", "residual3")
TABLE = {  # of a 32x32 image at width 64, as published
    "prep": (64, 32, 32),
    "layer1": (128, 16, 16),
    "residual1": (128, 16, 16),
    "layer2": (256, 8, 8),
    "layer3": (512, 4, 4),
    "residual3": (512, 4, 4),
    "pool": (512, 1, 1),
    "head": (10,),
}


@contextmanager
def watched(network: nn.Module, names: tuple[str, ...]) -> Iterator[dict[str, Tensor]]:
    """Record the outputs of the named modules in the forward passes of the block."""
    seen: dict[str, Tensor] = {}
    handles = [
        network.get_submodule(name).register_forward_hook(lambda _m, _i, out, name=name: seen.__setitem__(name, out))
        for name in names
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def lived_in(width: int = 4, num_classes: int = 5) -> ResNet9:
    """A network with random batch norm parameters and statistics, so that a changed order of operations is detected."""
    torch.manual_seed(0)
    network = ResNet9(num_classes, ResNet9Config(width), mean=(0.3, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight)
            nn.init.normal_(layer.bias)
            nn.init.normal_(layer.running_mean)
            nn.init.uniform_(layer.running_var, 0.5, 2)
    return network


def test_parameters_are_those_of_the_table() -> None:
    network = ResNet9(10)
    convolutions = 9 * (3 * 64 + 64 * 128 + 2 * 128 * 128 + 128 * 256 + 256 * 512 + 2 * 512 * 512)
    batch_norms = 2 * (64 + 128 + 2 * 128 + 256 + 512 + 2 * 512)
    assert convolutions + batch_norms + 512 * 10 == 6_573_120
    assert sum(p.numel() for p in network.parameters()) == 6_573_120
    assert all(p.requires_grad for p in network.parameters())
    assert not [name for name, _ in network.named_parameters() if name.endswith("bias") and "norm" not in name]


def test_three_counts_of_multiply_accumulates_agree_with_the_table() -> None:
    network, image = ResNet9(10).eval(), torch.rand(1, 3, 32, 32)
    by_hand = 9 * (
        32**2 * (3 * 64 + 64 * 128) + 16**2 * (2 * 128 * 128 + 128 * 256) + 8**2 * 256 * 512 + 4**2 * 2 * 512 * 512
    )
    with FlopCounterMode(display=False) as flops, torch.no_grad():
        network(image)
    assert by_hand + 512 * 10 == 379_261_952
    assert flops.get_total_flops() == 2 * 379_261_952
    assert count_macs(network, image) == 379_261_952


def test_every_stage_has_the_published_size_at_32x32() -> None:
    network = ResNet9(10).eval()
    assert network.stages == STAGES
    with watched(network, tuple(TABLE)) as seen, torch.no_grad():
        logits = network(torch.rand(2, 3, 32, 32))
    assert {name: tuple(out.shape[1:]) for name, out in seen.items()} == TABLE
    assert torch.equal(logits, seen["head"])


@pytest.mark.parametrize("size_px", [(8, 8), (16, 16), (33, 47), (64, 40)], ids=str)
def test_maps_of_other_input_sizes_are_pooled_to_one_number_per_channel(size_px: tuple[int, int]) -> None:
    network = ResNet9(5, ResNet9Config(width=4)).eval()
    with watched(network, STAGES) as seen, torch.no_grad():
        features = network.features(torch.rand(2, 3, *size_px))
        logits = network.head(features)
    height, width = size_px
    halvings = {"prep": 0, "layer1": 1, "residual1": 1, "layer2": 2, "layer3": 3, "residual3": 3}
    assert {name: tuple(out.shape[2:]) for name, out in seen.items()} == {
        name: (height // 2**times, width // 2**times) for name, times in halvings.items()
    }
    assert torch.equal(features, seen["residual3"].amax(dim=(2, 3)))
    assert logits.shape == (2, 5)


@pytest.mark.parametrize("width", [1, 6])
@pytest.mark.parametrize("num_classes", [2, 100])
def test_width_and_number_of_classes_scale_every_layer(width: int, num_classes: int) -> None:
    network = ResNet9(num_classes, ResNet9Config(width))
    channels = [layer.out_channels for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    assert channels == [width * times for times in (1, 2, 2, 2, 4, 8, 8, 8)]
    assert network.head.weight.shape == (num_classes, 8 * width)


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_every_stage_equals_a_plain_implementation_of_the_table(training: bool) -> None:
    network = lived_in().double().train(training)
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    images = torch.rand(3, 3, 16, 24, dtype=torch.float64)
    with watched(network, STAGES) as seen, torch.no_grad():
        seen["features"] = network.features(images)
        seen["logits"] = network.head(seen["features"])
        expected = plain_maps(weights, images, training=training)
    for name, plain in expected.items():
        torch.testing.assert_close(seen[name], plain, msg=lambda text, name=name: f"{name}: {text}")


def test_the_order_in_a_block_is_convolution_pool_relu_batch_norm() -> None:
    network = lived_in().double().eval()
    images = torch.rand(3, 3, 16, 16, dtype=torch.float64)
    with torch.no_grad():
        logits = network(images)
        assert torch.allclose(logits, plain_maps(network.state_dict(), images)["logits"])
        # every other order gives other numbers, except that pool and ReLU commute
        for order in (
            ("conv", "norm", "relu", "pool"),
            ("conv", "pool", "norm", "relu"),
            ("conv", "relu", "norm", "pool"),
        ):
            assert not torch.allclose(logits, plain_maps(network.state_dict(), images, order=order)["logits"])
    for name in ("prep", "layer1", "layer2", "layer3", "residual1.branch.0", "residual3.branch.1"):
        steps = [step for step, _ in network.get_submodule(name).named_children()]
        assert steps == [step for step in IN_ORDER if step != "pool" or name in ("layer1", "layer2", "layer3")]


def test_the_two_residual_stages_are_separate_modules() -> None:
    network = ResNet9(10, ResNet9Config(width=4))
    assert [name for name, layer in network.named_modules() if isinstance(layer, Residual)] == [
        "residual1",
        "residual3",
    ]


def test_convolutions_are_3x3_stride_1_padding_1_without_bias() -> None:
    convolutions = [layer for layer in ResNet9(10, ResNet9Config(width=4)).modules() if isinstance(layer, nn.Conv2d)]
    assert len(convolutions) == 8
    for layer in convolutions:
        assert (layer.kernel_size, layer.stride, layer.padding, layer.bias) == ((3, 3), (1, 1), (1, 1), None)


def test_the_memory_layout_of_the_images_has_no_effect() -> None:
    network = lived_in().double().eval()
    images = torch.rand(2, 3, 16, 16, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(network(images.to(memory_format=torch.channels_last)), network(images))


def test_cross_entropy_of_the_exercises_log_softmax_is_that_of_the_logits() -> None:
    from firstlight.training.exercise import CustomResNet

    model = CustomResNet(network=ResNet9Config(width=4)).eval()
    images, labels = torch.rand(6, 3, 32, 32), torch.tensor([0, 9, 4, 4, 1, 7])
    with torch.no_grad():
        log_softmax, logits = model(images), model.network(images)
    torch.testing.assert_close(log_softmax.exp().sum(dim=1), torch.ones(6))
    assert not torch.allclose(log_softmax, logits)
    torch.testing.assert_close(F.cross_entropy(log_softmax, labels), F.cross_entropy(logits, labels))
    by_hand = -torch.stack([row[label] for row, label in zip(log_softmax, labels, strict=True)]).mean()
    torch.testing.assert_close(F.cross_entropy(logits, labels), by_hand)
