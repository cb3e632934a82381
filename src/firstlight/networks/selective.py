"""Selective backpropagation: a backward pass of those images of a batch only whose gradient is not zero.

A loss that leaves out some images of a batch gives them gradients of zero, which autograd carries back through all
layers like any other: two thirds of a training step, spent on zeros. Here the backward pass of a network's stages is
written by hand. It looks at the gradient of their output, keeps the images that have one, and goes back with these.

Every layer that it knows has a pullback, which turns the gradient of the output into that of the input and of the
parameters; any other layer is left to autograd, with all images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import singledispatch
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.utils.parametrize import is_parametrized

from firstlight.networks.compiled import is_eager_on_cpu
from firstlight.networks.gelu import Gelu, gelu, gelu_gradient
from firstlight.networks.max_pool import MaxPool2x2, max_pool, max_pool_gradient
from firstlight.networks.residual import Residual
from firstlight.networks.winograd import Conv3x3, winograd_gradients


@dataclass
class Backward:
    """One backward pass.

    Args:
        places: of the images that have a gradient, int64 [k]; None if all have.
        num_images: of the batch.
        gradients: of the parameters, as far as they are known.
    """

    places: Tensor | None
    num_images: int
    gradients: dict[Tensor, Tensor] = field(default_factory=dict)

    def of(self, kept: Tensor) -> Tensor:
        """Return the rows of these images, [k ...], of what was kept of all, [n ...]."""
        if self.places is None:
            return kept
        if kept.ndim != 4:
            return kept.index_select(0, self.places)
        return kept.permute(0, 2, 3, 1).index_select(0, self.places).permute(0, 3, 1, 2)  # as it lies in memory

    def among_all(self, gradient: Tensor) -> Tensor:
        """Return the gradient of all images, [n ...], zero for the others."""
        if self.places is None:
            return gradient
        return gradient.new_zeros(self.num_images, *gradient.shape[1:]).index_copy_(0, self.places, gradient)

    def add(self, parameter: Tensor | None, gradient: Tensor | None) -> None:
        """Take note of a parameter's gradient, if it has one."""
        if parameter is not None and gradient is not None:
            before = self.gradients.get(parameter)
            gradient = gradient.to(parameter.dtype)
            self.gradients[parameter] = gradient if before is None else before + gradient


# From the gradient of the output, [k ...], to that of the input, None where nothing before it learns.
Pullback = Callable[[Tensor, Backward], Tensor | None]


def run(modules: Sequence[nn.Module], x: Tensor) -> Tensor:
    """Return what modules in training give, one after the other; the backward pass skips images whose gradient is zero.

    The gradients are those of autograd, except that batch norm's statistics are taken for those of the images that
    have a gradient. (Jiang et al. 2019, "Accelerating Deep Learning by Focusing on the Biggest Losers",
    arXiv 1910.00762, goes back with some images only as well, but sends these forward twice.)

    Args:
        modules: of any layers; those of this package, batch norm and containers are known.
        x: maps, float [n c h w], on the CPU.

    >>> layers, images = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)], torch.rand(2, 3, 8, 8)
    >>> run(layers, images).shape
    torch.Size([2, 8, 6, 6])
    """
    return _Run.apply(x, modules, *nn.ModuleList(modules).parameters())  # each once


def may_run(modules: Sequence[nn.Module], x: Tensor) -> bool:
    """Whether `run` can stand for the modules: on the CPU, for a gradient, in training, with no hooks within."""
    if not (torch.is_grad_enabled() and is_eager_on_cpu(x)):
        return False
    return all(_is_plain(each) for module in modules for each in module.modules())


def _is_plain(module: nn.Module) -> bool:
    hooks = module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks
    return module.training and not any(hooks)


class _Run(torch.autograd.Function):
    """Modules one after the other, and the way back through their pullbacks."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, modules: Sequence[nn.Module], *parameters: nn.Parameter) -> Tensor:
        output, ctx.pullback = _chained(modules, x, ctx.needs_input_grad[0])
        ctx.parameters = parameters
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.pullback is None:
            raise RuntimeError("these layers have gone back before, and what that needs is gone: run them again")
        has_gradient = gradient.ne(0).any(dim=tuple(range(1, gradient.ndim)))
        if not has_gradient.any():
            has_gradient[0] = True  # layers want an image at least
        backward = Backward(None if has_gradient.all() else has_gradient.nonzero().flatten(), len(gradient))
        of_input = ctx.pullback(backward.of(gradient), backward)
        ctx.pullback = None  # and with it all that was kept
        of_parameters = (backward.gradients.get(each) for each in ctx.parameters)
        return None if of_input is None else backward.among_all(of_input), None, *of_parameters


def traced(module: nn.Module, x: Tensor, needs_gradient: bool) -> tuple[Tensor, Pullback]:
    """Return a layer's output, and its pullback.

    Args:
        module: the layer. A kind is known if `by_hand` has a rule for it, or for a class whose `forward` it inherits.
        x: its input, float [n c h w].
        needs_gradient: whether the input's gradient will be asked for.
    """
    known = next(each for each in type(module).__mro__ if each in by_hand.registry)
    if type(module).forward is not getattr(known, "forward", None) or is_parametrized(module):
        return by_autograd(module, x, needs_gradient)
    return by_hand.registry[known](module, x, needs_gradient)


@singledispatch
def by_hand(module: nn.Module, x: Tensor, needs_gradient: bool) -> tuple[Tensor, Pullback]:
    """Return the output and the pullback of a layer by the rule for its kind: see `traced`."""
    return by_autograd(module, x, needs_gradient)


def by_autograd(module: nn.Module, x: Tensor, needs_gradient: bool) -> tuple[Tensor, Pullback]:
    """Return the output and a pullback of any layer: autograd's, of all images, zeros for those left out."""
    parameters = _learning(module.parameters())
    with torch.enable_grad():
        x = x.detach().requires_grad_(needs_gradient)
        output = module(x)
    if not output.requires_grad:
        return output, _nothing
    sources = [*([x] if needs_gradient else []), *parameters]

    def pullback(gradient: Tensor, backward: Backward) -> Tensor | None:
        found = list(torch.autograd.grad(output, sources, backward.among_all(gradient), allow_unused=True))
        of_input = found.pop(0) if needs_gradient else None
        for parameter, each in zip(parameters, found, strict=True):
            backward.add(parameter, each)
        return None if of_input is None else backward.of(of_input)

    return output.detach(), pullback


def _nothing(gradient: Tensor, backward: Backward) -> None:
    """The pullback of what neither learns nor has anything before it that does."""


def _chained(modules: Iterable[nn.Module], x: Tensor, needs_gradient: bool) -> tuple[Tensor, Pullback]:
    pullbacks: list[Pullback] = []
    for each in modules:
        x, pullback = traced(each, x, needs_gradient)
        pullbacks.append(pullback)
        needs_gradient = needs_gradient or bool(_learning(each.parameters()))

    def pullback_all(gradient: Tensor, backward: Backward) -> Tensor | None:
        of_output: Tensor | None = gradient
        while pullbacks and of_output is not None:
            of_output = pullbacks.pop()(of_output, backward)  # what it kept goes with it
        return of_output

    return x, pullback_all


@by_hand.register
def _(module: nn.Sequential, x: Tensor, needs_gradient: bool) -> tuple[Tensor, Pullback]:
    return _chained(module, x, needs_gradient)


@by_hand.register
def _(module: Residual, x: Tensor, needs_gradient: bool) -> tuple[Tensor, Pullback]:
    of_branch, pullback = traced(module.branch, x, needs_gradient)

    def pullback_sum(gradient: Tensor, backward: Backward) -> Tensor | None:
        of_input = pullback(gradient, backward)
        return None if of_input is None else of_input + gradient

    return x + of_branch, pullback_sum


@by_hand.register
def _(module: Conv3x3, x: Tensor, needs_gradient: bool) -> tuple[Tensor, Pullback]:
    if not module.pays(x):
        return by_hand.registry[nn.Conv2d](module, x, needs_gradient)
    output = module(x)
    images = x.to(output.dtype)

    def pullback(gradient: Tensor, backward: Backward) -> Tensor | None:
        filters = module.weight
        asked = needs_gradient, filters.requires_grad
        of_images, of_filters = winograd_gradients(backward.of(images), filters, gradient, *asked)
        backward.add(filters, of_filters)
        return of_images

    return output, pullback


@by_hand.register
def _(module: nn.Conv2d, x: Tensor, needs_gradient: bool) -> tuple[Tensor, Pullback]:
    if module.padding_mode != "zeros" or isinstance(module.padding, str):
        return by_autograd(module, x, needs_gradient)
    output = module(x)
    weight, bias = module.weight, module.bias
    asked = [needs_gradient, weight.requires_grad, bias is not None and bias.requires_grad]
    images = x.to(output.dtype)

    def pullback(gradient: Tensor, backward: Backward) -> Tensor | None:
        if bias is not None and asked[2]:
            backward.add(bias, gradient.sum((0, 2, 3), dtype=bias.dtype))
        if not any(asked[:2]):
            return None
        of_images, of_weight, _ = torch.ops.aten.convolution_backward(
            gradient,
            backward.of(images),
            weight.to(gradient.dtype),
            None,
            module.stride,
            module.padding,
            module.dilation,
            False,
            [0, 0],
            module.groups,
            [*asked[:2], False],
        )
        backward.add(weight, of_weight)
        return of_images

    return output, pullback


@by_hand.register
def _(module: nn.BatchNorm2d, x: Tensor, needs_gradient: bool) -> tuple[Tensor, Pullback]:
    weight, bias, means, variances = module.weight, module.bias, module.running_mean, module.running_var
    if weight is None or means is None or module.momentum is None:
        return by_autograd(module, x, needs_gradient)
    cast(Tensor, module.num_batches_tracked).add_(1)
    output, mean, reciprocal_std = torch.ops.aten.native_batch_norm(
        x, weight, bias, means, variances, True, module.momentum, module.eps
    )
    asked = [needs_gradient, weight.requires_grad, bias.requires_grad]

    def pullback(gradient: Tensor, backward: Backward) -> Tensor | None:
        kept = backward.of(x)
        of_input, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, kept, weight, means, variances, mean, reciprocal_std, True, module.eps, asked
        )
        backward.add(weight, of_weight if asked[1] else None)
        backward.add(bias, of_bias if asked[2] else None)
        return of_input if needs_gradient else None

    return output, pullback


@by_hand.register
def _(module: Gelu, x: Tensor, needs_gradient: bool) -> tuple[Tensor, Pullback]:
    if not module.pays(x):
        return by_autograd(module, x, needs_gradient)
    output, slopes = gelu(x, with_slopes=needs_gradient)
    return output, lambda gradient, backward: gelu_gradient(gradient, backward.of(slopes))


@by_hand.register
def _(module: nn.ReLU, x: Tensor, needs_gradient: bool) -> tuple[Tensor, Pullback]:  # noqa: ARG001  # as all are called
    output = x.relu()
    return output, lambda gradient, backward: torch.ops.aten.threshold_backward(gradient, backward.of(output), 0)


@by_hand.register
def _(module: MaxPool2x2, x: Tensor, needs_gradient: bool) -> tuple[Tensor, Pullback]:
    if not module.pays(x):
        return by_autograd(module, x, needs_gradient)
    output, which = max_pool(x)
    height, width = x.shape[2:]

    def pullback(gradient: Tensor, backward: Backward) -> Tensor:
        kept = which if backward.places is None else which.index_select(0, backward.places)
        return max_pool_gradient(gradient, kept, height, width)

    return output, pullback


def _learning(parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    return [each for each in parameters if each.requires_grad]
