"""The registry of backward rules, and the state of one backward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from firstlight.layers.residual import Residual


@dataclass
class Backward:
    """State of one backward pass.

    Args:
        indices: Indices of the images that have a gradient, int64 [k]; None if all have one.
        num_images: Number of images in the batch.
        gradients: Parameter gradients computed so far.
    """

    indices: Tensor | None
    num_images: int
    gradients: dict[Tensor, Tensor] = field(default_factory=dict)

    def select(self, stored: Tensor) -> Tensor:
        """Return the rows of `indices`, [k ...], of a tensor that was stored for all images, [n ...]."""
        if self.indices is None:
            return stored
        if stored.ndim != 4:
            return stored.index_select(0, self.indices)
        return stored.permute(0, 2, 3, 1).index_select(0, self.indices).permute(0, 3, 1, 2)  # in memory order

    def scatter(self, gradient: Tensor) -> Tensor:
        """Return the gradient of all images, [n ...], from that of `indices`, [k ...]; zero for the other images."""
        if self.indices is None:
            return gradient
        return gradient.new_zeros(self.num_images, *gradient.shape[1:]).index_copy_(0, self.indices, gradient)

    def add(self, parameter: Tensor | None, gradient: Tensor | None) -> None:
        """Add a gradient to that of a parameter; does nothing if either is None."""
        if parameter is not None and gradient is not None:
            before = self.gradients.get(parameter)
            gradient = gradient.to(parameter.dtype)
            self.gradients[parameter] = gradient if before is None else before + gradient


# Maps the gradient of the output, [k ...], to that of the input; None if the input needs no gradient.
VJP = Callable[[Tensor, Backward], Tensor | None]
# Maps a layer, its input, and whether the input needs a gradient to the output and its VJP.
Rule = Callable[[Any, Tensor, bool], tuple[Tensor, VJP]]

# A rule for consecutive layers that are computed together; returns None if they are faster one by one.
RunRule = Callable[[Sequence[Any], Tensor, bool], tuple[Tensor, VJP] | None]

RULES: dict[type[nn.Module], Rule] = {}
RUN_RULES: dict[tuple[type[nn.Module], ...], RunRule] = {}
_Some = TypeVar("_Some", bound=Rule)


def rule_for(*kinds: type[nn.Module]) -> Callable[[_Some], _Some]:
    """Register a rule for layers of these classes, and of subclasses that inherit their `forward`."""

    def register(rule: _Some) -> _Some:
        RULES.update(dict.fromkeys(kinds, rule))
        return rule

    return register


def rule_for_run(*kinds: type[nn.Module]) -> Callable[[RunRule], RunRule]:
    """Register a rule for consecutive layers of exactly these classes."""

    def register(rule: RunRule) -> RunRule:
        RUN_RULES[kinds] = rule
        return rule

    return register


def forward_with_vjp(module: nn.Module, x: Tensor, needs_gradient: bool) -> tuple[Tensor, VJP]:
    """Compute the output of a layer and its VJP.

    Args:
        module: Layer; without a rule for its class, or for one whose `forward` it inherits, autograd is used.
        x: Input, float [n c h w].
        needs_gradient: Whether the input needs a gradient.
    """
    return _rule(module)(module, x, needs_gradient)


def chain_vjps(modules: Iterable[nn.Module], x: Tensor, needs_gradient: bool) -> tuple[Tensor, VJP]:
    """Compute the output of consecutive modules and their VJP, which can be called once."""
    vjps: list[VJP] = []
    left = list(modules)
    while left:
        x, vjp, count = _forward_run_with_vjp(left, x, needs_gradient)
        vjps.append(vjp)
        needs_gradient = needs_gradient or any(_trainable(each.parameters()) for each in left[:count])
        left = left[count:]

    def vjp_of_all(gradient: Tensor, backward: Backward) -> Tensor | None:
        of_output: Tensor | None = gradient
        while vjps and of_output is not None:
            of_output = vjps.pop()(of_output, backward)  # frees the tensors that it stored
        return of_output

    return x, vjp_of_all


def compose(first: VJP, second: VJP) -> VJP:
    """Return the VJP of two consecutive layers."""

    def vjp(gradient: Tensor, backward: Backward) -> Tensor | None:
        of_output = second(gradient, backward)
        return None if of_output is None else first(of_output, backward)

    return vjp


def _forward_run_with_vjp(modules: Sequence[nn.Module], x: Tensor, needs_gradient: bool) -> tuple[Tensor, VJP, int]:
    """Apply the longest run of first modules that has a rule; return output, VJP and the number of modules."""
    kinds = tuple([type(each) for each in modules])  # of a list: torch.compile traces no generator here
    for count in range(len(kinds), 1, -1):
        rule = RUN_RULES.get(kinds[:count])
        found = None if rule is None else rule(modules[:count], x, needs_gradient)
        if found is not None:
            return *found, count
    return *forward_with_vjp(modules[0], x, needs_gradient), 1


def have_rules(modules: Iterable[nn.Module]) -> bool:
    """Return whether every module, and every module within it, has a rule."""
    return all(
        _rule(module) is not by_autograd
        and (_rule(module) not in (RULES[nn.Sequential], RULES[Residual]) or have_rules(module.children()))
        for module in modules
    )


def has_hooks(module: nn.Module) -> bool:
    """Return whether a module has hooks, which a rule would not call."""
    hooks = module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks
    return any(hooks)


def by_autograd(module: nn.Module, x: Tensor, needs_gradient: bool) -> tuple[Tensor, VJP]:
    """Compute the output of any layer and a VJP by autograd, for all images, with zero gradients for skipped ones."""
    parameters = _trainable(module.parameters())
    with torch.enable_grad():
        x = x.detach().requires_grad_(needs_gradient)
        output = module(x)
    if not output.requires_grad:
        return output, _nothing
    sources = [*([x] if needs_gradient else []), *parameters]

    def vjp(gradient: Tensor, backward: Backward) -> Tensor | None:
        found = list(torch.autograd.grad(output, sources, backward.scatter(gradient), allow_unused=True))
        of_input = found.pop(0) if needs_gradient else None
        for parameter, of_parameter in zip(parameters, found, strict=True):
            backward.add(parameter, of_parameter)
        return None if of_input is None else backward.select(of_input)

    return output.detach(), vjp


def _rule(module: nn.Module) -> Rule:
    for kind in type(module).__mro__:
        if kind in RULES:
            return RULES[kind] if type(module).forward is kind.forward and not is_parametrized(module) else by_autograd
    return by_autograd


def _nothing(gradient: Tensor, backward: Backward) -> None:
    """The VJP of a layer that needs no gradient, neither for its input nor for parameters."""


def _trainable(parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    return [each for each in parameters if each.requires_grad]
