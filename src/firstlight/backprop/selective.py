"""Selective backpropagation: a backward pass of those images of a batch only whose gradient is not zero.

A loss that leaves out some images of a batch gives them gradients of zero, which autograd carries back through all
layers like any other: two thirds of a training step, spent on zeros. Here the backward pass of a network's stages is
made of pullbacks. It looks at the gradient of their output, keeps the images that have one, and goes back with these.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, is_grad_enabled, nn
from torch.autograd.function import Function, once_differentiable

from firstlight.backprop import Backward, chained, has_hooks
from firstlight.native.dispatch import is_eager_on_cpu


def run(modules: Sequence[nn.Module], x: Tensor, *, skips: bool = True) -> Tensor:
    """Return what modules in training give, one after the other; the backward pass skips images whose gradient is zero.

    The gradients are those of autograd, except that, where images are skipped, batch norm's statistics are taken for
    those of the images that have a gradient. (Jiang et al. 2019, "Accelerating Deep Learning by Focusing on the Biggest
    Losers", arXiv 1910.00762, goes back with some images only as well, but sends these forward twice.)

    Args:
        modules: of any layers; see `pullbacks` for those that are known.
        x: maps, float [n c h w], on the CPU.
        skips: whether images are skipped; if not, what is gained is what the rules do better than autograd.

    >>> import torch
    >>> layers, images = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)], torch.rand(2, 3, 8, 8)
    >>> run(layers, images).shape
    torch.Size([2, 8, 6, 6])
    """
    return _Run.apply(x, modules, skips, *nn.ModuleList(modules).parameters())  # each once


def may_run(modules: Sequence[nn.Module], x: Tensor) -> bool:
    """Whether `run` can stand for the modules: on the CPU, for a gradient, in training, with no hooks within."""
    if not (is_grad_enabled() and is_eager_on_cpu(x)):
        return False
    return all(each.training and not has_hooks(each) for module in modules for each in module.modules())


class _Run(Function):
    """Modules one after the other, and the way back through their pullbacks."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, modules: Sequence[nn.Module], skips: bool, *parameters: nn.Parameter) -> Tensor:
        output, ctx.pullback = chained(modules, x, ctx.needs_input_grad[0])
        ctx.parameters, ctx.skips = parameters, skips
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.pullback is None:
            raise RuntimeError("these layers have gone back before, and what that needs is gone: run them again")
        backward = Backward(_places_with_gradient(gradient) if ctx.skips else None, len(gradient))
        of_input = ctx.pullback(backward.of(gradient), backward)
        ctx.pullback = None  # and with it all that was kept
        of_parameters = (backward.gradients.get(each) for each in ctx.parameters)
        return None if of_input is None else backward.among_all(of_input), None, None, *of_parameters


def _places_with_gradient(gradient: Tensor) -> Tensor | None:
    """Return which images have a gradient, int64 [k], one at least, since layers want one; None if all have."""
    has_gradient = gradient.abs().amax(dim=tuple(range(1, gradient.ndim))) != 0  # four times as fast as any()
    if has_gradient.all():
        return None
    if not has_gradient.any():
        has_gradient[0] = True
    return has_gradient.nonzero().flatten()
