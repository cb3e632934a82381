"""The registry of backward rules, and the state of one backward pass.

A rule computes a layer's output and its vector-Jacobian product (VJP): the function that maps the gradient of the
output to the gradient of the input, and adds the gradients of the layer's parameters to the `Backward`.
"""

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
        gradients: Parameter gradients computed so far, by parameter.
    """

    indices: Tensor | None
    num_images: int
    gradients: dict[Tensor, Tensor] = field(default_factory=dict)

    def select(self, stored: Tensor) -> Tensor:
        """Return the rows `indices`, [k ...], of a tensor that was stored for all images, [n ...]."""
        if self.indices is None:
            return stored
        if stored.ndim != 4:
            return stored.index_select(0, self.indices)
        return stored.permute(0, 2, 3, 1).index_select(0, self.indices).permute(0, 3, 1, 2)  # in memory order

    def scatter(self, gradient: Tensor) -> Tensor:
        """Return a gradient for all images, [n ...]: the rows of `gradient`, [k ...], at `indices`, zero elsewhere."""
        if self.indices is None:
            return gradient
        return gradient.new_zeros(self.num_images, *gradient.shape[1:]).index_copy_(0, self.indices, gradient)

    def add(self, parameter: Tensor | None, gradient: Tensor | None) -> None:
        """Add a gradient to the gradient of a parameter; does nothing if either is None."""
        if parameter is not None and gradient is not None:
            before = self.gradients.get(parameter)
            gradient = gradient.to(parameter.dtype)
            self.gradients[parameter] = gradient if before is None else before + gradient


# Maps the gradient of the output, [k ...], to the gradient of the input; returns None if the input needs none.
VJP = Callable[[Tensor, Backward], Tensor | None]
# Arguments: layer, input, whether the input needs a gradient. Returns the output and the VJP.
Rule = Callable[[Any, Tensor, bool], tuple[Tensor, VJP]]

# A rule for consecutive layers that are computed together; returns None if they are faster one by one.
SequenceRule = Callable[[Sequence[Any], Tensor, bool], tuple[Tensor, VJP] | None]

RULES: dict[type[nn.Module], Rule] = {}
SEQUENCE_RULES: dict[tuple[type[nn.Module], ...], SequenceRule] = {}
_RuleT = TypeVar("_RuleT", bound=Rule)


def rule_for(*kinds: type[nn.Module]) -> Callable[[_RuleT], _RuleT]:
    """Register a rule for layers of these classes, and of subclasses that inherit their `forward`."""

    def register(rule: _RuleT) -> _RuleT:
        RULES.update(dict.fromkeys(kinds, rule))
        return rule

    return register


def rule_for_sequence(*kinds: type[nn.Module]) -> Callable[[SequenceRule], SequenceRule]:
    """Register a rule for consecutive layers of exactly these classes."""

    def register(rule: SequenceRule) -> SequenceRule:
        SEQUENCE_RULES[kinds] = rule
        return rule

    return register


def forward_with_vjp(module: nn.Module, x: Tensor, needs_gradient: bool) -> tuple[Tensor, VJP]:
    """Compute the output of a layer and its VJP.

    Args:
        module: Layer. Autograd is used if neither its class nor the class from which it inherits `forward` has a rule.
        x: Input, float [n c h w].
        needs_gradient: Whether the input needs a gradient.

    Returns:
        The output, and the VJP.
    """
    return _rule(module)(module, x, needs_gradient)


def chain_vjps(modules: Iterable[nn.Module], x: Tensor, needs_gradient: bool) -> tuple[Tensor, VJP]:
    """Compute the output of consecutive modules and their VJP, which can be called once."""
    vjps: list[VJP] = []
    remaining = list(modules)
    while remaining:
        x, vjp, count = _forward_sequence_with_vjp(remaining, x, needs_gradient)
        vjps.append(vjp)
        needs_gradient = needs_gradient or any(_trainable(each.parameters()) for each in remaining[:count])
        remaining = remaining[count:]

    def chained_vjp(gradient: Tensor, backward: Backward) -> Tensor | None:
        grad_output: Tensor | None = gradient
        while vjps and grad_output is not None:
            grad_output = vjps.pop()(grad_output, backward)  # pop, to free the tensors that this VJP stores
        return grad_output

    return x, chained_vjp


def compose(first: VJP, second: VJP) -> VJP:
    """Return the VJP of two consecutive layers."""

    def vjp(gradient: Tensor, backward: Backward) -> Tensor | None:
        grad_output = second(gradient, backward)
        return None if grad_output is None else first(grad_output, backward)

    return vjp


def _forward_sequence_with_vjp(
    modules: Sequence[nn.Module], x: Tensor, needs_gradient: bool
) -> tuple[Tensor, VJP, int]:
    """Apply as many of the first modules as one rule covers; return output, VJP and the number of modules."""
    kinds = tuple([type(each) for each in modules])  # a list, because torch.compile cannot trace a generator
    for count in range(len(kinds), 1, -1):
        rule = SEQUENCE_RULES.get(kinds[:count])
        found = None if rule is None else rule(modules[:count], x, needs_gradient)
        if found is not None:
            return *found, count
    return *forward_with_vjp(modules[0], x, needs_gradient), 1


def have_rules(modules: Iterable[nn.Module]) -> bool:
    """Whether every module, and every module within it, has a rule."""
    return all(
        _rule(module) is not autograd_rule
        and (_rule(module) not in (RULES[nn.Sequential], RULES[Residual]) or have_rules(module.children()))
        for module in modules
    )


def has_hooks(module: nn.Module) -> bool:
    """Whether a module has hooks, which a rule would not call."""
    hooks = module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks
    return any(hooks)


def autograd_rule(module: nn.Module, x: Tensor, needs_gradient: bool) -> tuple[Tensor, VJP]:
    """Compute the output of any layer and a VJP with autograd, for all images; skipped ones get a zero gradient."""
    parameters = _trainable(module.parameters())
    with torch.enable_grad():
        x = x.detach().requires_grad_(needs_gradient)
        output = module(x)
    if not output.requires_grad:
        return output, _no_gradient
    sources = [*([x] if needs_gradient else []), *parameters]

    def vjp(gradient: Tensor, backward: Backward) -> Tensor | None:
        found = list(torch.autograd.grad(output, sources, backward.scatter(gradient), allow_unused=True))
        grad_input = found.pop(0) if needs_gradient else None
        for parameter, grad_parameter in zip(parameters, found, strict=True):
            backward.add(parameter, grad_parameter)
        return None if grad_input is None else backward.select(grad_input)

    return output.detach(), vjp


def _rule(module: nn.Module) -> Rule:
    for kind in type(module).__mro__:
        if kind in RULES:
            return (
                RULES[kind] if type(module).forward is kind.forward and not is_parametrized(module) else autograd_rule
            )
    return autograd_rule


def _no_gradient(gradient: Tensor, backward: Backward) -> None:
    """The VJP of a layer that needs no gradient, neither for its input nor for parameters."""


def _trainable(parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    return [each for each in parameters if each.requires_grad]
