"""The effective receptive field: the measured gradient of a unit with respect to each input pixel."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from firstlight.arrays import UnitImages
from firstlight.errors import UsageError
from firstlight.modes import in_evaluation


def gradient_energy(network: nn.Module, images: UnitImages, stage: str, seed: int = 0) -> Float[Tensor, "h w"]:
    """Return the squared gradient of a stage's central unit with respect to each input pixel.

        E(y, x) = mean over images of sum over c, k of (d unit_k / d image_c(y, x))^2

    One backward pass estimates the sum over the unit's channels k: each channel and image gets a random sign, which
    makes the estimate exact in expectation. The method follows Luo et al. 2016, "Understanding the Effective Receptive
    Field in Deep Convolutional Neural Networks", arXiv 1701.04128, where a unit has one channel.

    Args:
        network: Network that takes RGB in [0, 1]. It runs in eval mode, and its modes are restored.
        images: Random or real images, float [n 3 h w] in [0, 1].
        stage: Path of a module whose output has shape [n c h w]. The unit at (h // 2, w // 2) is measured.
        seed: Seed of the signs.

    Returns:
        Gradient energy, not normalized, float [h w].

    Raises:
        UsageError: There is no such stage, or its output is not four-dimensional.

    >>> blur = nn.Sequential(nn.AvgPool2d(3, stride=1, padding=1))
    >>> int((gradient_energy(blur, torch.rand(2, 3, 5, 5), stage="0") > 0).sum())
    9
    """
    if stage not in dict(network.named_modules()):
        known = ", ".join(name for name, _ in network.named_children())
        raise UsageError(f"no stage is named {stage!r}; choose one of {known}")
    maps: list[Tensor] = []
    handle = network.get_submodule(stage).register_forward_hook(lambda _module, _args, output: maps.append(output))
    try:
        with torch.inference_mode(False), torch.enable_grad(), in_evaluation(network):
            pixels = images.detach().clone().requires_grad_()
            network(pixels)
            if not maps or maps[0].ndim != 4:
                raise UsageError(f"the output of {stage!r} is not a map; choose a convolutional stage")
            unit = maps[0][:, :, maps[0].shape[2] // 2, maps[0].shape[3] // 2]
            bits = torch.randint(2, unit.shape, generator=torch.Generator().manual_seed(seed))
            (gradient,) = torch.autograd.grad(unit, pixels, (2 * bits - 1).to(unit))
    finally:
        handle.remove()
    return gradient.square().sum(dim=1).mean(dim=0)


def effective_size_px(energy: Float[Tensor, "h w"]) -> float:
    """Return the side, in pixels, of the square whose area is the number of pixels with a considerable gradient.

    A pixel counts if its gradient (the square root of its energy) exceeds 0.0455 (1 - 0.9545) of the largest one. For
    a Gaussian these are the pixels within two and a half standard deviations (Luo et al. 2016, section 3).

    Args:
        energy: Gradient energy from `gradient_energy`, float [h w].

    >>> effective_size_px(torch.tensor([[0.0, 0.0, 0.0], [0.0, 1.0, 1.0], [0.0, 1.0, 1.0]]))
    2.0
    """
    gradient = energy.sqrt()
    return math.sqrt(int((gradient > (1 - 0.9545) * gradient.max()).sum()))
