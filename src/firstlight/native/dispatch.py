"""Shared helpers for layers that have a native kernel: which kernels are enabled, whether one can run, and the call."""

from __future__ import annotations

import ctypes
import os
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.fx import Proxy

from firstlight.errors import UsageError
from firstlight.native.libraries import call

KERNELS = ("amx", "winograd", "batch_norm", "gelu", "max_pool", "muon", "augment")
DISABLE_KERNELS = "FIRSTLIGHT_DISABLE_KERNELS"  # environment variable: names of kernels, separated by commas

TYPES = {torch.float32: "float", torch.float64: "double", torch.bfloat16: "bfloat16"}  # suffixes of native functions


def is_enabled(kernel: str) -> bool:
    """Whether a kernel may be used, that is, FIRSTLIGHT_DISABLE_KERNELS does not name it.

    Raises:
        UsageError: The variable names an unknown kernel.
    """
    assert kernel in KERNELS
    return kernel not in disabled_kernels()


def disabled_kernels() -> tuple[str, ...]:
    """Return the names in FIRSTLIGHT_DISABLE_KERNELS, in the order of `KERNELS`; "all" stands for all of them.

    Raises:
        UsageError: The variable names an unknown kernel.
    """
    return _parse(os.environ.get(DISABLE_KERNELS, ""))


@cache
def _parse(text: str) -> tuple[str, ...]:
    names = {name.strip() for name in text.split(",")} - {""}
    if names == {"all"}:
        return KERNELS
    unknown = sorted(names - set(KERNELS))
    if unknown:
        raise UsageError(
            f"{DISABLE_KERNELS} has unknown kernels {', '.join(map(repr, unknown))}: "
            f"write some of {', '.join(KERNELS)}, separated by commas, or all"
        )
    return tuple(name for name in KERNELS if name in names)


def is_eager_on_cpu(images: Tensor) -> bool:
    """Whether `images` is a plain CPU tensor outside of tracing, compilation, export and `torch.func`.

    >>> is_eager_on_cpu(torch.rand(1, 3, 8, 8)), is_eager_on_cpu(torch.rand(1, 3, 8, 8, device="meta"))
    (True, False)
    """
    if type(images) is not Tensor or torch.jit.is_tracing() or torch.compiler.is_compiling():
        return False
    if torch._C._functorch.is_functorch_wrapped_tensor(images):  # a tensor inside `torch.func.vmap` has no memory
        return False
    return images.device.type == "cpu"


def call_for(dtype: torch.dtype, library: ctypes.CDLL | None, name: str, *arguments: Tensor | int | None) -> None:
    """Call the native function `name` for a dtype, with as many threads as PyTorch uses."""
    call(library, f"{name}_{TYPES[dtype]}", *arguments, threads=torch.get_num_threads())


def fx_leaf(layer: nn.Module, proxy: Proxy) -> Tensor:
    """Record a layer as one node of the graph of `torch.fx.symbolic_trace`, as torch.fx does for `torch.nn` layers.

    torch.fx would otherwise trace into the layer, and fail at the checks of its input, which depend on values.
    """
    tracer: Any = proxy.tracer
    return cast(Tensor, tracer.create_proxy("call_module", tracer.path_of_module(layer), (proxy,), {}))
