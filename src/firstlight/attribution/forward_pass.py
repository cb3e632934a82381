"""A forward pass for an explanation: its autocast context, its logits, and a stage's output as maps."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn

from firstlight.arrays import Logits
from firstlight.attribution.capture import listed_stages
from firstlight.errors import UsageError

Precision = Literal["as_is", "bf16"]
Reshape = Callable[[Tensor], Tensor]


def autocast(precision: Precision, device_type: str) -> AbstractContextManager[object]:
    """Return the autocast context of the forward pass.

    Args:
        precision: "as_is" keeps the caller's context; "bf16" casts to bfloat16.
        device_type: Type of the network's device, for instance "cpu".
    """
    if precision == "bf16":
        # No cache, because a training step must not reuse weights that were cast to bfloat16 without a gradient.
        return torch.autocast(device_type, torch.bfloat16, cache_enabled=False)
    return nullcontext()


def checked_logits(output: Any) -> Logits:
    """Return the output of a network.

    Raises:
        UsageError: It is not a tensor of logits, [n k].
    """
    if not isinstance(output, Tensor) or output.ndim != 2:
        found = list(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise UsageError(f"the network returns {found}, not logits [n k]: wrap it in a module that returns logits")
    return output


def as_maps(network: nn.Module, stage: str, output: Tensor, reshape: Reshape | None) -> Tensor:
    """Return the output of a stage as maps, float [n c h w].

    Args:
        network: Network of the stage.
        stage: Path of the stage.
        output: Output of the stage.
        reshape: Function that turns the output into maps; None if the output already consists of maps.

    Raises:
        UsageError: The output, after `reshape` if given, does not have four axes.
    """
    maps = output if reshape is None else reshape(output)
    if maps.ndim == 4:
        return maps
    shape = list(maps.shape)
    if reshape is not None:
        raise UsageError(f"reshape returns {shape} for stage {stage}: it must return maps, [n c h w]")
    if maps.ndim == 3:
        raise UsageError(
            f"stage {stage} returns tokens, {shape}, not maps, [n c h w]: give reshape, a function that turns "
            "tokens into maps, for instance lambda tokens: tokens.transpose(1, 2).unflatten(2, (height, width))"
        )
    raise UsageError(
        f"stage {stage} returns {shape}, not maps, [n c h w]: choose a stage before the pooling. The network has "
        f"{listed_stages(network)}."
    )
