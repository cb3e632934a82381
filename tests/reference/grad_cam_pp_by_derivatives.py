"""Grad-CAM++ as the paper defines it: third derivatives of exp(score), cell by cell, by autograd, in float64."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def grad_cam_pp(activations: Tensor, score: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the map of one image, without the paper's final ReLU.

    Args:
        activations: float64 [c h w].
        score: from activations [c h w] to the class's logit.
    """
    channels, rows, columns = activations.shape
    cam = torch.zeros(rows, columns, dtype=torch.float64)
    for channel in range(channels):
        weight = torch.zeros((), dtype=torch.float64)
        for row in range(rows):
            for column in range(columns):
                first, second, third = _derivatives(activations, score, (channel, row, column))
                denominator = 2 * second + activations[channel].sum() * third  # equation 10
                alpha = second / denominator if denominator != 0 else torch.zeros(())
                weight += alpha * torch.relu(first)
        cam += weight * activations[channel]
    return cam


def _derivatives(
    activations: Tensor, score: Callable[[Tensor], Tensor], cell: tuple[int, int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """The first three derivatives of exp(score) by one activation."""
    step = torch.zeros((), dtype=torch.float64, requires_grad=True)
    at_cell = torch.zeros_like(activations)
    at_cell[cell] = 1.0
    value = torch.exp(score(activations + step * at_cell))
    found = []
    for _ in range(3):
        (value,) = torch.autograd.grad(value, step, create_graph=True)
        found.append(value.detach())
    return found[0], found[1], found[2]
