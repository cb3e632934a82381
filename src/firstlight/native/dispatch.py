"""What the layers with a compiled way have in common: when it may be taken, and how it is called."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from firstlight.native.compiler import call

TYPES = {torch.float32: "float", torch.float64: "double", torch.bfloat16: "bfloat16"}  # as functions are named for them


def is_eager_on_cpu(images: Tensor) -> bool:
    """Whether the images are a plain tensor of the CPU that is worked on now: not traced, compiled or exported.

    >>> is_eager_on_cpu(torch.rand(1, 3, 8, 8)), is_eager_on_cpu(torch.rand(1, 3, 8, 8, device="meta"))
    (True, False)
    """
    if type(images) is not Tensor or torch.jit.is_tracing() or torch.compiler.is_compiling():
        return False
    return images.device.type == "cpu"


def call_for(dtype: torch.dtype, library: ctypes.CDLL | None, name: str, *arguments: Tensor | int | None) -> None:
    """Call the function of a library that is made for numbers of a type, with as many threads as PyTorch has."""
    call(library, f"{name}_{TYPES[dtype]}", *arguments, threads=torch.get_num_threads())
