"""Stages of a network in evaluation on a CPU: each run of layers as one pass over its maps.

Where no gradient will be asked for, what lies between a convolution and the next need not be written: batch norm has
become a factor and a summand for each channel, and GELU follows while the number is at hand. That changes results by
less than their rounding, since they are rounded once instead of after every layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

from torch import Tensor, is_grad_enabled, nn

from firstlight.networks.batch_norm import BatchNorm
from firstlight.networks.compiled import is_eager_on_cpu
from firstlight.networks.conv3x3 import Conv3x3
from firstlight.networks.conv3x3.amx import AmxConvolution, Finish
from firstlight.networks.conv3x3.layer import arithmetic
from firstlight.networks.gelu import Gelu
from firstlight.networks.max_pool import MaxPool2x2
from firstlight.networks.residual import Residual
from firstlight.networks.runs import Kinds, has, has_hooks, rules_for_start

Rule = Callable[[Sequence[Any], Tensor], Tensor | None]
"""From layers, one after the other, and their input to their output; None where they had better go one by one."""


def may_infer(modules: Sequence[nn.Module], x: Tensor) -> bool:
    """Whether `infer` can stand for the modules: on the CPU, with no gradient, in evaluation, with no hooks within."""
    if is_grad_enabled() or not is_eager_on_cpu(x):
        return False
    return not any(each.training or has_hooks(each) for module in modules for each in module.modules())


def infer(modules: Iterable[nn.Module], x: Tensor) -> Tensor:
    """Return what modules in evaluation give, one after the other.

    Args:
        modules: of any layers.
        x: maps, float [n c h w], on the CPU.

    >>> import torch
    >>> layers = [BatchNorm(8).eval(), Gelu()]
    >>> images = torch.rand(2, 8, 4, 4)
    >>> torch.allclose(infer(layers, images), layers[1](layers[0](images)))
    True
    """
    left = list(modules)
    while left:
        x, count = _started(left, x)
        left = left[count:]
    return x


def _started(modules: Sequence[nn.Module], x: Tensor) -> tuple[Tensor, int]:
    """Return what the first of the modules give, and how many these are: as many as one rule takes."""
    for rule, count in rules_for_start(modules, RULES):
        output = rule(modules[:count], x)
        if output is not None:
            return output, count
    return modules[0](x), 1


def _in_sequence(modules: Sequence[nn.Sequential], x: Tensor) -> Tensor:
    return infer(modules[0], x)


def _residual(modules: Sequence[Residual], x: Tensor) -> Tensor:
    return x + infer([modules[0].branch], x)


def _convolve_and_normalize(modules: Sequence[nn.Module], x: Tensor) -> Tensor | None:
    conv, norm = cast(Conv3x3, modules[0]), next(each for each in modules if isinstance(each, BatchNorm))
    finish, way = Finish(has(MaxPool2x2, modules), has(nn.ReLU, modules)), conv.way(x)
    if not isinstance(way, AmxConvolution) or not norm.is_complete or (finish.pools and min(x.shape[2:]) < 2):
        return None
    maps = x.to(arithmetic(x)).permute(0, 2, 3, 1)
    normalizing = norm.remembered().normalizing(norm.weight, norm.bias, norm.eps)
    output = way.convolve_and_normalize(maps, conv.weight, *normalizing, finish, with_gelu=has(Gelu, modules))
    return output.permute(0, 3, 1, 2)


RULES: dict[Kinds, Rule] = {
    (nn.Sequential,): _in_sequence,
    (Residual,): _residual,
    (Conv3x3, MaxPool2x2, BatchNorm, Gelu): _convolve_and_normalize,
    (Conv3x3, MaxPool2x2, BatchNorm): _convolve_and_normalize,
    (Conv3x3, BatchNorm, Gelu): _convolve_and_normalize,
    (Conv3x3, BatchNorm): _convolve_and_normalize,
    (Conv3x3, MaxPool2x2, nn.ReLU, BatchNorm): _convolve_and_normalize,
    (Conv3x3, nn.ReLU, BatchNorm): _convolve_and_normalize,
}
