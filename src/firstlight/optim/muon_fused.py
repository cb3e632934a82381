"""Native CPU kernels of Muon's update, in two passes over the weights; PyTorch's operations need ten passes."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from firstlight.native.dispatch import is_enabled
from firstlight.native.libraries import call, load_library

SOURCE = Path(__file__).with_name("muon_fused.cpp")
TYPES = {torch.float32: "float", torch.bfloat16: "bfloat16"}  # dtypes of updates, and suffixes of the native functions
MIN_ELEMENTS = 2**16  # smallest number of weights for which the kernels are faster


def is_faster(
    weights: Sequence[Tensor], gradients: Sequence[Tensor], buffers: Sequence[Tensor], dtype: torch.dtype
) -> bool:
    """Whether the native kernels support these tensors, for updates of a dtype, and are faster.

    The kernels support dense float32 weights on the CPU whose first axis is outermost in memory; gradients and momentum
    buffers must have the same strides.
    """
    if dtype not in TYPES or torch.compiler.is_compiling() or sum(each.numel() for each in weights) < MIN_ELEMENTS:
        return False
    for alike in zip(weights, gradients, buffers, strict=True):
        if any(each.device.type != "cpu" or each.dtype != torch.float32 for each in alike):
            return False
        if len({each.stride() for each in alike}) > 1 or not _is_dense_by_row(alike[0]):
            return False
    return is_enabled("muon") and _library() is not None


def nesterov_update(weight: Tensor, gradient: Tensor, buffer: Tensor, update: Tensor, momentum: float) -> Tensor:
    """Update the momentum buffer, b <- m b + g, write Nesterov's update, g + m b, and return the weight's norm.

    Args:
        weight: Weight, float32 of any shape.
        gradient: Gradient g, float32 with the shape and strides of the weight.
        buffer: Momentum buffer b, float32 with the shape and strides of the weight; changed in place.
        update: Receives the update in the weight's memory order, contiguous float32 or bfloat16.
        momentum: Momentum m.

    Returns:
        Frobenius norm of the weight, float64 [].
    """
    threads = torch.get_num_threads()
    squares = torch.empty(threads, dtype=torch.float64)
    arguments = gradient, weight, torch.tensor(momentum), buffer, update, squares, weight.numel()
    call(_library(), f"nesterov_{TYPES[update.dtype]}", *arguments, threads=threads)
    return squares.sum().sqrt()


def scale_and_subtract(weight: Tensor, update: Tensor, factor: Tensor, rate: float | Tensor) -> None:
    """Update a weight in place, w <- factor w - rate u, by an update u in the weight's memory order."""
    arguments = update.contiguous(), torch.tensor([float(factor), float(rate)]), weight, weight.numel()
    call(_library(), f"scale_and_subtract_{TYPES[update.dtype]}", *arguments, threads=torch.get_num_threads())


def _is_dense_by_row(weight: Tensor) -> bool:
    dense = bool(torch.ops.aten.is_non_overlapping_and_dense(weight))
    return dense and weight.stride(0) == max(weight.stride())


def _library() -> ctypes.CDLL | None:
    return load_library(SOURCE, "muon")
