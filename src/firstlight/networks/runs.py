"""Runs of layers, one after the other, for which there is a rule that does them as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from torch import nn

Kinds = tuple[type[nn.Module], ...]
_Rule = TypeVar("_Rule")


def rules_for_start(modules: Sequence[nn.Module], rules: Mapping[Kinds, _Rule]) -> list[tuple[_Rule, int]]:
    """Return the rules for the first of the modules, and for how many each is, the longest run first.

    Args:
        modules: in the order in which they run.
        rules: by the exact kinds of the layers of a run.

    >>> rules = {(nn.Conv2d, nn.ReLU): "two", (nn.Conv2d,): "one", (nn.ReLU,): "other"}
    >>> rules_for_start([nn.Conv2d(3, 8, 3), nn.ReLU(), nn.ReLU()], rules)
    [('two', 2), ('one', 1)]
    """
    kinds = tuple([type(each) for each in modules])  # a list, which can be traced
    return [(rules[kinds[:count]], count) for count in range(len(kinds), 0, -1) if kinds[:count] in rules]


def has(kind: type[nn.Module], modules: Sequence[nn.Module]) -> bool:
    """Whether one of the modules is of a kind."""
    return any(isinstance(each, kind) for each in modules)


def has_hooks(module: nn.Module) -> bool:
    """Whether a module has hooks: where a rule stands for it, nothing calls them."""
    hooks = module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks
    return any(hooks)
