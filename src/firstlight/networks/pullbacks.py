"""Pullbacks: the way back through a layer, written by hand, for some of the images of a batch.

A layer's pullback turns the gradient of its output into that of its input and of its parameters. Autograd has its own
for every layer, but none can leave out images; these can, and they can be compiled together with the way forward. A
layer that has none here is left to autograd, with all images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrize import is_parametrized

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
# From a layer, its input, and whether that input's gradient will be asked for, to its output and its pullback.
Rule = Callable[[Any, Tensor, bool], tuple[Tensor, Pullback]]

RULES: dict[type[nn.Module], Rule] = {}
_Some = TypeVar("_Some", bound=Rule)


def rule_for(*kinds: type[nn.Module]) -> Callable[[_Some], _Some]:
    """Say that a function is the rule for layers of these kinds, and of those that inherit their `forward`."""

    def register(rule: _Some) -> _Some:
        RULES.update(dict.fromkeys(kinds, rule))
        return rule

    return register


def traced(module: nn.Module, x: Tensor, needs_gradient: bool) -> tuple[Tensor, Pullback]:
    """Return a layer's output, and its pullback.

    Args:
        module: the layer. A kind is known if there is a rule for it, or for a class whose `forward` it inherits.
        x: its input, float [n c h w].
        needs_gradient: whether the input's gradient will be asked for.
    """
    return _rule(module)(module, x, needs_gradient)


def chained(modules: Iterable[nn.Module], x: Tensor, needs_gradient: bool) -> tuple[Tensor, Pullback]:
    """Return what modules give, one after the other, and the pullback of them all, which can be used once."""
    pullbacks: list[Pullback] = []
    for each in modules:
        x, pullback = traced(each, x, needs_gradient)
        pullbacks.append(pullback)
        needs_gradient = needs_gradient or len(_learning(each.parameters())) > 0

    def pullback_all(gradient: Tensor, backward: Backward) -> Tensor | None:
        of_output: Tensor | None = gradient
        while pullbacks and of_output is not None:
            of_output = pullbacks.pop()(of_output, backward)  # what it kept goes with it
        return of_output

    return x, pullback_all


def are_known(modules: Iterable[nn.Module]) -> bool:
    """Whether there is a rule for each of the modules, and for those within them."""
    return all(
        _rule(module) is not by_autograd
        and (_rule(module) not in (RULES[nn.Sequential], RULES[Residual]) or are_known(module.children()))
        for module in modules
    )


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
        for parameter, of_parameter in zip(parameters, found, strict=True):
            backward.add(parameter, of_parameter)
        return None if of_input is None else backward.of(of_input)

    return output.detach(), pullback


def _rule(module: nn.Module) -> Rule:
    for kind in type(module).__mro__:
        if kind in RULES:
            return RULES[kind] if type(module).forward is kind.forward and not is_parametrized(module) else by_autograd
    return by_autograd


def _nothing(gradient: Tensor, backward: Backward) -> None:
    """The pullback of what neither learns nor has anything before it that does."""


@rule_for(nn.Sequential)
def _(module: nn.Sequential, x: Tensor, needs_gradient: bool) -> tuple[Tensor, Pullback]:
    return chained(module, x, needs_gradient)


@rule_for(Residual)
def _(module: Residual, x: Tensor, needs_gradient: bool) -> tuple[Tensor, Pullback]:
    of_branch, pullback = traced(module.branch, x, needs_gradient)

    def pullback_sum(gradient: Tensor, backward: Backward) -> Tensor | None:
        of_input = pullback(gradient, backward)
        return None if of_input is None else of_input + gradient

    return x + of_branch, pullback_sum


@rule_for(nn.Conv2d)
def _direct(module: nn.Conv2d, x: Tensor, needs_gradient: bool) -> tuple[Tensor, Pullback]:
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


@rule_for(Conv3x3)
def _(module: Conv3x3, x: Tensor, needs_gradient: bool) -> tuple[Tensor, Pullback]:
    if not module.pays(x):
        return _direct(module, x, needs_gradient)
    output = module(x)
    images = x.to(output.dtype)

    def pullback(gradient: Tensor, backward: Backward) -> Tensor | None:
        filters = module.weight
        asked = needs_gradient, filters.requires_grad
        of_images, of_filters = winograd_gradients(backward.of(images), filters, gradient, *asked)
        backward.add(filters, of_filters)
        return of_images

    return output, pullback


@rule_for(nn.BatchNorm2d)
def _(module: nn.BatchNorm2d, x: Tensor, needs_gradient: bool) -> tuple[Tensor, Pullback]:
    weight, bias, means, variances = module.weight, module.bias, module.running_mean, module.running_var
    if weight is None or means is None or module.momentum is None:
        return by_autograd(module, x, needs_gradient)
    cast(Tensor, module.num_batches_tracked).add_(1)
    output, mean, reciprocal_std = torch.ops.aten._native_batch_norm_legit(
        x, weight, bias, means, variances, True, module.momentum, module.eps
    )
    asked = [needs_gradient, weight.requires_grad, bias.requires_grad]

    def pullback(gradient: Tensor, backward: Backward) -> Tensor | None:
        of_input, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, backward.of(x), weight, means, variances, mean, reciprocal_std, True, module.eps, asked
        )
        backward.add(weight, of_weight if asked[1] else None)
        backward.add(bias, of_bias if asked[2] else None)
        return of_input if needs_gradient else None

    return output, pullback


@rule_for(Gelu)
def _(module: Gelu, x: Tensor, needs_gradient: bool) -> tuple[Tensor, Pullback]:
    if not module.pays(x):
        return module(x), lambda gradient, backward: torch.ops.aten.gelu_backward(gradient, backward.of(x))
    output, slopes = gelu(x, with_slopes=needs_gradient)
    return output, lambda gradient, backward: gelu_gradient(gradient, backward.of(slopes))


@rule_for(nn.ReLU)
def _(module: nn.ReLU, x: Tensor, needs_gradient: bool) -> tuple[Tensor, Pullback]:  # noqa: ARG001  # as all are called
    output = x.relu()
    return output, lambda gradient, backward: torch.ops.aten.threshold_backward(gradient, backward.of(output), 0)


@rule_for(MaxPool2x2)
def _(module: MaxPool2x2, x: Tensor, needs_gradient: bool) -> tuple[Tensor, Pullback]:  # noqa: ARG001
    if torch.compiler.is_compiling():
        return _max_pool_to_fuse(x)
    height, width = x.shape[2:]
    if module.pays(x):
        output, which = max_pool(x)

        def pullback(gradient: Tensor, backward: Backward) -> Tensor:
            kept = which if backward.places is None else which.index_select(0, backward.places)
            return max_pool_gradient(gradient, kept, height, width)

        return output, pullback
    kernel = stride = [2, 2]
    output, places = torch.ops.aten.max_pool2d_with_indices(x, kernel, stride)

    def pullback_anywhere(gradient: Tensor, backward: Backward) -> Tensor:
        no_padding, dilation, rounds_up = [0, 0], [1, 1], False
        return torch.ops.aten.max_pool2d_with_indices_backward(
            gradient, backward.of(x), kernel, stride, no_padding, dilation, rounds_up, backward.of(places)
        )

    return output, pullback_anywhere


def _max_pool_to_fuse(x: Tensor) -> tuple[Tensor, Pullback]:
    """The pool in plain arithmetic, which a compiler fuses with its neighbours; of each window one byte is kept."""
    maps = x.permute(0, 2, 3, 1)
    _, height, width, channels = maps.shape
    rows, columns = height // 2, width // 2
    a, b, c, d = (maps[:, i : 2 * rows : 2, j : 2 * columns : 2] for i in (0, 1) for j in (0, 1))
    top, bottom = torch.maximum(a, b), torch.maximum(c, d)
    which = torch.where(top >= bottom, (b > a).to(torch.uint8), (d > c).to(torch.uint8) + 2)

    def pullback(gradient: Tensor, backward: Backward) -> Tensor:
        kept = which if backward.places is None else which.index_select(0, backward.places)
        number = torch.arange(4, dtype=torch.uint8, device=x.device).view(2, 1, 2, 1)
        spread = gradient.permute(0, 2, 3, 1)[:, :, None, :, None]  # [k rows 1 columns 1 channels]
        of_windows = torch.where(kept[:, :, None, :, None] == number, spread, 0.0)
        of_maps = of_windows.reshape(len(kept), 2 * rows, 2 * columns, channels)
        return F.pad(of_maps, (0, 0, 0, width - 2 * columns, 0, height - 2 * rows)).permute(0, 3, 1, 2)

    return torch.maximum(top, bottom).permute(0, 3, 1, 2), pullback


@rule_for(nn.AdaptiveMaxPool2d)
def _(module: nn.AdaptiveMaxPool2d, x: Tensor, needs_gradient: bool) -> tuple[Tensor, Pullback]:
    if module.output_size != 1:
        return by_autograd(module, x, needs_gradient)
    height, width = x.shape[2:]
    output, place = x.flatten(2).max(dim=2)

    def pullback(gradient: Tensor, backward: Backward) -> Tensor:
        is_largest = backward.of(place)[:, :, None] == torch.arange(height * width, device=gradient.device)
        return (gradient.flatten(2) * is_largest).unflatten(2, (height, width))

    return output[:, :, None, None], pullback


@rule_for(nn.ZeroPad2d)
def _(module: nn.ZeroPad2d, x: Tensor, needs_gradient: bool) -> tuple[Tensor, Pullback]:
    left, _, top, _ = module.padding
    if min(module.padding) < 0:
        return by_autograd(module, x, needs_gradient)
    height, width = x.shape[2:]
    return module(x), lambda gradient, _: gradient[:, :, top : top + height, left : left + width]


@rule_for(nn.Linear)
def _(module: nn.Linear, x: Tensor, needs_gradient: bool) -> tuple[Tensor, Pullback]:
    if x.ndim != 2:
        return by_autograd(module, x, needs_gradient)
    output = module(x)

    def pullback(gradient: Tensor, backward: Backward) -> Tensor | None:
        weight, bias = module.weight, module.bias
        if weight.requires_grad:
            backward.add(weight, gradient.mT @ backward.of(x).to(gradient.dtype))
        if bias is not None and bias.requires_grad:
            backward.add(bias, gradient.sum(0))
        return gradient @ weight.to(gradient.dtype) if needs_gradient else None

    return output, pullback


def _learning(parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    return [each for each in parameters if each.requires_grad]
