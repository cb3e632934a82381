"""Modules wrapped by `torch.compile`: find the original module and its names, and run it without compiled code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

_WRAPPED = "_orig_mod"  # the name under which `torch.compile` keeps the original module


def uncompiled(module: nn.Module) -> nn.Module:
    """Return the module that `torch.compile` has wrapped, or the module itself; both share their weights."""
    while _WRAPPED in module._modules:
        module = module.get_submodule(_WRAPPED)
    return module


def plain_name(name: str) -> str:
    """Return the name that a submodule or a tensor has without `torch.compile`.

    >>> plain_name("network._orig_mod.head.weight"), plain_name("layer1._orig_mod")
    ('network.head.weight', 'layer1')
    """
    return ".".join(part for part in name.split(".") if part != _WRAPPED)


@contextmanager
def running_eagerly(network: nn.Module) -> Iterator[None]:
    """Run the network without compiled code within the block, because compiled code does not call new hooks."""
    if not any(map(_is_compiled, network.modules())):
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


@contextmanager
def without_compiled_code(module: nn.Module) -> Iterator[None]:
    """Remove the wrappers of `torch.compile` from a module and its submodules within the block, then restore them.

    TensorBoard draws a graph with `torch.jit.trace`, which raises an error for compiled code, even under
    `torch.compiler.set_stance("force_eager")`.
    """
    wrapped = [
        (parent, name, child)
        for parent in module.modules()
        for name, child in parent._modules.items()
        if child is not None and _WRAPPED in child._modules
    ]
    in_place = [(each, each._compiled_call_impl) for each in module.modules() if each._compiled_call_impl is not None]
    try:
        for parent, name, child in wrapped:
            parent._modules[name] = uncompiled(child)
        for each, _ in in_place:
            each._compiled_call_impl = None
        yield
    finally:
        for parent, name, child in wrapped:
            parent._modules[name] = child
        for each, call in in_place:
            each._compiled_call_impl = call


def rename_saved_state(_module: nn.Module, state: dict[str, Any], prefix: str, _metadata: Any) -> None:
    """Post-hook of `state_dict`: give the entries the names that they have without `torch.compile`.

    Args:
        _module: Module whose state it is.
        state: State dict; changed in place.
        prefix: Start of the names of the module's entries.
    """
    if any(_WRAPPED in name.split(".") for name in state if name.startswith(prefix)):
        entries = list(state.items())
        state.clear()
        state.update({plain_name(name) if name.startswith(prefix) else name: value for name, value in entries})


def rename_loaded_state(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Pre-hook of `load_state_dict`: give the entries the names that they have in the module, compiled or not.

    Args:
        module: Module that loads the state.
        state: State dict; changed in place.
        prefix: Start of the names of the module's entries.
    """
    tensors = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    own = {prefix + plain_name(name): prefix + name for name, _ in tensors}
    for name in list(state):
        target = own.get(plain_name(name), name)
        if target != name:
            state[target] = state.pop(name)


def compile_in_place(module: nn.Module, compiler: Callable[[Any], Any]) -> None:
    """Compile the calls of a module, as `nn.Module.compile` does, unless it is compiled already.

    Args:
        module: Module to compile.
        compiler: Function that compiles a function, such as the `dynamo_ctx` of a module that `torch.compile` returned.
    """
    if not _is_compiled(module):
        module._compiled_call_impl = compiler(module._call_impl)


def _is_compiled(module: nn.Module) -> bool:
    return _WRAPPED in module._modules or module._compiled_call_impl is not None
