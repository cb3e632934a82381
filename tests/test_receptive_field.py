"""Receptive fields: computed from the network, compared with gradients and with hand arithmetic."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from firstlight.errors import FirstlightError, UsageError
from firstlight.layers.residual import Residual
from firstlight.networks import ResNet9, ResNet9Config
from firstlight.receptive_field import Field, effective_size_px, gradient_energy, output_layer, trace


class Unequal(nn.Module):
    """A strided stem, then a short and a long, dilated branch that are concatenated, then a functional pool.

    Along one axis, by hand (r = size, j = jump, u = first pixel of unit 0):

        stem     k 3, s 2, p 1          r = 3                     j = 2   u = -1
        short    k 1                    r = 3                     j = 2   u = -1
        long[0]  k 3, d 2, p 2          r = 3 + 2 * 2 * 2 = 11    j = 2   u = -1 - 2 * 2 = -5
        long[1]  k 3, p 1               r = 11 + 2 * 2 = 15       j = 2   u = -5 - 1 * 2 = -7
        cat      union                  r = 15, narrowest 3       j = 2   u = -7
        pool     k 2, s 2               r = 15 + 2 = 17, 5        j = 4   u = -7
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 2, 3, stride=2, padding=1)
        self.short = nn.Conv2d(2, 2, 1)
        self.long = nn.Sequential(nn.Conv2d(2, 2, 3, padding=2, dilation=2), nn.Conv2d(2, 2, 3, padding=1))

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        return F.avg_pool2d(torch.cat([self.short(x), self.long(x)], dim=1), 2)


class Shifted(nn.Module):
    """Two paths of one pixel each at a distance of two pixels: their union is three pixels wide."""

    def forward(self, images: Tensor) -> Tensor:
        return images[:, :, :-2, :] + images[:, :, 2:, :]


class Gated(nn.Module):
    """Squeeze and excitation: a gate from the whole map scales every position."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gate = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 4)

    def forward(self, images: Tensor) -> Tensor:
        x = self.conv(images)
        x *= self.gate(x.mean(dim=(2, 3))).sigmoid()[:, :, None, None]
        return x


class ChannelsLast(nn.Module):
    """A linear layer over channels depends on one position, one over the flattened map on all."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.mix, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 5), nn.Linear(5 * 8 * 8, 2)

    def forward(self, images: Tensor) -> Tensor:
        x = self.mix(self.conv(images).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self.head(x.flatten(1))


def seen(network: nn.Module, size_px: int) -> tuple[int, int, int, int]:
    """Return the box of the pixels with a gradient of the central unit: first and last row and column."""
    images = torch.rand(1, 3, size_px, size_px, dtype=torch.float64, requires_grad=True)
    output = network(images)
    (gradient,) = torch.autograd.grad(output[0, :, output.shape[2] // 2, output.shape[3] // 2].sum(), images)
    rows, columns = gradient[0].abs().sum(0).nonzero(as_tuple=True)
    return int(rows.min()), int(columns.min()), int(rows.max()), int(columns.max())


def linearized(network: nn.Module) -> nn.Module:
    """Return a copy in which every pixel has an effect: mean-pools, no ReLU, no batch norm, positive weights."""
    twin = copy.deepcopy(network).double()
    for parent in list(twin.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.MaxPool2d):
                setattr(parent, name, nn.AvgPool2d(child.kernel_size, child.stride, child.padding))
            elif isinstance(child, nn.ReLU | nn.BatchNorm2d):
                setattr(parent, name, nn.Identity())
    for parameter in twin.parameters():
        nn.init.uniform_(parameter, 0.1, 1.0)
    return twin


class TestResNet9:
    def test_sizes(self) -> None:
        layers = [layer for layer in trace(ResNet9(10, ResNet9Config(2)), 32) if layer.role in ("convolution", "pool")]
        sizes = [layer.rows.receptive_field_px for layer in layers]
        assert sizes == [3, 5, 6, 10, 14, 18, 20, 28, 32, 48, 64, 88]
        assert [layer.columns.receptive_field_px for layer in layers] == sizes
        assert [layer.rows.jump_px for layer in layers] == [1, 1, 2, 2, 2, 2, 4, 4, 8, 8, 8, 32]

    def test_equals_the_gradient_of_the_linearized_twin(self) -> None:
        network = ResNet9(10, ResNet9Config(2))
        # At 128 pixels the last map is 16x16; a pool of 4 covers what the whole pool covers at 32 pixels.
        body = nn.Sequential(*(network.get_submodule(stage) for stage in network.stages), nn.MaxPool2d(4))
        twin = linearized(body)
        layers = trace(body, 128)
        for depth in range(1, len(body) + 1):
            assert output_layer(layers, str(depth - 1)).box_px == seen(twin[:depth], 128)
        assert output_layer(layers, "6").box_px == (36, 36, 123, 123)  # 88 pixels

    def test_the_shortest_path_skips_both_branches(self) -> None:
        last = trace(ResNet9(10, ResNet9Config(2)), 32)[-1]
        # 3, 5, 6, skip, 10, 12, 20, 24, skip, 24 + 3 * 8
        assert last.rows.narrowest_px == 48

    def test_a_sum_knows_both_its_sources(self) -> None:
        layers = trace(ResNet9(10, ResNet9Config(2)), 32)
        join = output_layer(layers, "residual1")
        assert (join.role, [layers[source].name for source in join.sources]) == (
            "join",
            ["layer1.norm", "residual1.branch.1.norm"],
        )


class TestByHand:
    def test_unequal_branches(self) -> None:
        found = {layer.name: layer.rows for layer in trace(Unequal(), 64)}
        assert found == {
            "image": Field(64, jump_px=1, first_px=0, receptive_field_px=1, narrowest_px=1),
            "stem": Field(32, jump_px=2, first_px=-1, receptive_field_px=3, narrowest_px=3),
            "short": Field(32, jump_px=2, first_px=-1, receptive_field_px=3, narrowest_px=3),
            "long.0": Field(32, jump_px=2, first_px=-5, receptive_field_px=11, narrowest_px=11),
            "long.1": Field(32, jump_px=2, first_px=-7, receptive_field_px=15, narrowest_px=15),
            "cat": Field(32, jump_px=2, first_px=-7, receptive_field_px=15, narrowest_px=3),
            "avg_pool2d": Field(16, jump_px=4, first_px=-7, receptive_field_px=17, narrowest_px=5),
        }
        assert found["avg_pool2d"].start_px == 1.0

    @pytest.mark.parametrize(
        "network",
        [
            Unequal(),
            Shifted(),
            nn.Conv2d(3, 2, (5, 1), stride=(1, 2), padding=(2, 0)),
            nn.Conv2d(3, 2, 4, padding="same"),
            nn.Conv2d(3, 2, 3, padding=1, padding_mode="reflect"),
            nn.Sequential(nn.Conv2d(3, 2, 3), Residual(nn.Conv2d(2, 2, 7, padding=3)), nn.AvgPool2d(3, 2, padding=1)),
            nn.AdaptiveAvgPool2d(8),
        ],
        ids=["unequal", "shifted", "oblong", "even", "reflected", "residual", "adaptive"],
    )
    @pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")
    def test_equals_the_gradient(self, network: nn.Module) -> None:
        twin = linearized(nn.Sequential(network))
        assert trace(network, 64)[-1].box_px == seen(twin, 64)

    def test_two_paths_of_one_pixel_see_three(self) -> None:
        rows = trace(Shifted(), 16)[-1].rows
        assert (rows.receptive_field_px, rows.narrowest_px) == (3, 1)

    def test_a_gate_sees_everything_and_moves_nothing(self) -> None:
        rows = trace(Gated(), 16)[-1].rows
        # conv 3, then the mean over 16 positions one pixel apart: 3 + 15; an even width sits half a pixel off
        assert (rows.size, rows.receptive_field_px, rows.narrowest_px, rows.start_px) == (16, 18, 3, 0.5)

    def test_a_linear_layer_sees_channels_or_the_whole_map(self) -> None:
        found = {layer.name: layer.rows.receptive_field_px for layer in trace(ChannelsLast(), 8)}
        assert (found["conv"], found["mix"], found["head"]) == (3, 3, 10)

    def test_strided_slices_are_strides(self) -> None:
        class Shortcut(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                return x[:, :, 1::2, ::2]

        last = trace(Shortcut(), 8)[-1]
        assert (last.rows, last.columns) == (Field(4, jump_px=2, first_px=1), Field(4, jump_px=2, first_px=0))

    def test_unequal_adaptive_windows_count_with_the_widest(self) -> None:
        # 5 positions to 3 units: windows [0, 2), [1, 4), [3, 5)
        assert trace(nn.AdaptiveMaxPool2d(3), 5)[-1].rows.receptive_field_px == 3


class TestTrace:
    def test_shared_parameters_count_once(self) -> None:
        conv = nn.Conv2d(3, 3, 3, padding=1)
        assert [layer.parameters for layer in trace(nn.Sequential(conv, nn.ReLU(), conv), 8)] == [0, 84, 0, 0]

    def test_the_network_is_unchanged(self) -> None:
        network = ResNet9(10, ResNet9Config(2))
        network.layer1.eval()
        modes = [module.training for module in network.modules()]
        weights = copy.deepcopy(network.state_dict())
        trace(network, 32)
        with pytest.raises(UsageError, match="ResNet9 cannot take 4x4 images"):
            trace(network, 4)
        assert [module.training for module in network.modules()] == modes
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
        assert all(torch.equal(weights[name], value) for name, value in network.state_dict().items())

    @pytest.mark.parametrize("layer", [nn.Upsample(scale_factor=2), nn.ConvTranspose2d(3, 3, 2), nn.PixelUnshuffle(2)])
    def test_unsupported_operations_are_named(self, layer: nn.Module) -> None:
        with pytest.raises(FirstlightError, match="cannot be followed through"):
            trace(nn.Sequential(layer), 8)

    def test_an_output_that_does_not_depend_on_the_image_is_an_error(self) -> None:
        class Deaf(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                return torch.zeros(1, 2)

        with pytest.raises(FirstlightError, match="cannot be followed back"):
            trace(Deaf(), 8)

    def test_unknown_stage(self) -> None:
        with pytest.raises(UsageError, match=r"no stage is named 'layer9'; choose one of image, 0"):
            output_layer(trace(nn.Sequential(nn.ReLU()), 8), "layer9")


class TestEffective:
    def test_is_the_square_of_a_linear_kernel(self) -> None:
        conv = nn.Conv2d(3, 1, 3, padding=1, bias=False)
        energy = gradient_energy(nn.Sequential(conv), torch.rand(2, 3, 9, 9), stage="0")
        expected = F.pad(conv.weight[0].square().sum(0), (3, 3, 3, 3))
        torch.testing.assert_close(energy, expected.detach())

    def test_random_signs_sum_the_channels(self) -> None:
        conv = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        energy = gradient_energy(nn.Sequential(conv), torch.rand(4000, 3, 5, 5), stage="0", seed=1)
        expected = F.pad(conv.weight.square().sum((0, 1)), (1, 1, 1, 1)).detach()
        torch.testing.assert_close(energy, expected, rtol=0.1, atol=0.01)

    def test_the_effective_field_is_inside_the_receptive_field(self) -> None:
        network = ResNet9(10, ResNet9Config(2))
        energy = gradient_energy(network, torch.rand(2, 3, 48, 48), stage="layer2")
        top, left, bottom, right = output_layer(trace(network, 48), "layer2").box_px
        assert 1 <= effective_size_px(energy) <= 20
        energy[top : bottom + 1, left : right + 1] = 0
        assert not energy.any()

    def test_no_gradient_is_left_and_results_are_reproducible(self) -> None:
        network = ResNet9(10, ResNet9Config(2))
        images = torch.rand(2, 3, 32, 32)
        with torch.inference_mode():
            first, second = (gradient_energy(network, images, "layer1", seed=3) for _ in range(2))
        assert torch.equal(first, second)
        assert network.training
        assert all(parameter.grad is None for parameter in network.parameters())

    @pytest.mark.parametrize("stage", ["head", "layer9"])
    def test_a_stage_without_a_map_is_refused(self, stage: str) -> None:
        with pytest.raises(UsageError, match=stage):
            gradient_energy(ResNet9(10, ResNet9Config(2)), torch.rand(1, 3, 32, 32), stage)
