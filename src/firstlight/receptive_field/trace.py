"""`trace`: the layers of a network with shapes and receptive fields, recorded in one forward pass.

A torch dispatch mode records operators below the level of modules. Branches, sums and functional calls are therefore
recorded like modules, and `forward` may contain any Python code.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from firstlight.errors import FirstlightError, UsageError
from firstlight.modes import in_evaluation
from firstlight.receptive_field.fields import Field, Window
from firstlight.receptive_field.operations import COPIES, Operation, Role, read_operation


@dataclass(frozen=True)
class Layer:
    """One layer of a network: a module without children, or an operation that is called between modules.

    Args:
        name: Qualified name of the module; an operation is named after the module that calls it.
        kind: Class of the module, or name of the operation.
        role: Kind of operation; "join" if paths meet in it.
        window: Sliding window of a convolution or a pool; None for other layers.
        output: Shape of the output for one image: (c, h, w), or (f,).
        rows: Receptive fields along the height.
        columns: Receptive fields along the width.
        sources: Indices, within the trace, of the layers whose outputs this layer takes.
        parameters: Number of its own parameters; those shared with an earlier layer are not counted again.
        macs: Multiply-accumulates of its convolutions and matrix products for one image.
    """

    name: str
    kind: str
    role: Role
    window: Window | None
    output: tuple[int, ...]
    rows: Field
    columns: Field
    sources: tuple[int, ...]
    parameters: int
    macs: int

    @property
    def stage(self) -> str:
        """Name of the network's direct child that contains the layer."""
        return self.name.split(".")[0]

    @property
    def box_px(self) -> tuple[int, int, int, int]:
        """Receptive field of the central unit: first row, first column, last row, last column; may exceed the image."""
        top, bottom = self.rows.range_px(self.rows.size // 2)
        left, right = self.columns.range_px(self.columns.size // 2)
        return top, left, bottom, right


def trace(network: nn.Module, size_px: int) -> tuple[Layer, ...]:
    """Return the layers of a network in the order of the forward pass; the first entry is the image itself.

    Modules that return their input unchanged (dropout in evaluation, identities, views between modules) have no entry.
    Normalization counts as pointwise. A vector keeps the receptive field of the map that was flattened, and a linear
    layer after it depends on the whole map. For an adaptive pool with unequal windows the widest window counts.

    Args:
        network: Network that takes RGB images in [0, 1]; the modes of its modules are restored.
        size_px: Side of the square image in pixels.

    Raises:
        UsageError: The network cannot take images of this size.
        FirstlightError: An operation moves pixels in a way that is not supported, for instance an upsampling.

    >>> two = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.MaxPool2d(2))
    >>> [(layer.name, layer.output, layer.rows.receptive_field_px) for layer in trace(two, 32)]
    [('image', (3, 32, 32), 1), ('0', (8, 32, 32), 3), ('1', (8, 16, 16), 4)]
    """
    parameter = next(network.parameters(), torch.zeros(()))
    image = parameter.new_zeros(1, 3, size_px, size_px)
    tracer = _Tracer(image)
    with torch.no_grad(), in_evaluation(network), tracer.recording(network), tracer:
        try:
            output = network(image)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise UsageError(f"{type(network).__name__} cannot take {size_px}x{size_px} images: {reason}") from error
    if not tracer.origins_of(output):
        raise FirstlightError(f"{type(network).__name__}: its output cannot be followed back to the image.")
    return tuple(tracer.layers)


def output_layer(layers: Sequence[Layer], stage: str) -> Layer:
    """Return the layer that computes the output of a module, which may be nested.

    Args:
        layers: Layers from `trace`.
        stage: Qualified name of the module.

    Raises:
        UsageError: No module with this name contains a layer.

    >>> deep = nn.Sequential(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), nn.Flatten())
    >>> output_layer(trace(deep, 32), "0").name
    '0.1'
    """
    inside = [layer for layer in layers if f"{layer.name}.".startswith(f"{stage}.")]
    if not inside:
        known = ", ".join(dict.fromkeys(layer.stage for layer in layers))
        raise UsageError(f"no stage is named {stage!r}; choose one of {known}.")
    return inside[-1]


@dataclass(frozen=True, eq=False)
class _Origin:
    """The layers and pixels that a tensor comes from. It holds the tensor, so that its `id` is not reused."""

    tensor: Tensor
    rows: Field
    columns: Field
    sources: tuple[int, ...]


@dataclass(eq=False)
class _ModuleCall:
    """A module that is running, and its operations so far."""

    name: str
    module: nn.Module
    is_leaf: bool
    role: Role = "pointwise"
    window: Window | None = None
    macs: int = 0
    is_touched: bool = False  # whether an operation has used a tensor that was computed from the image

    def add(self, operation: Operation, macs: int) -> None:
        """Record an operation; the first that is not pointwise decides the role of the module."""
        self.is_touched = True
        self.macs += macs
        if self.role == "pointwise":
            self.role, self.window = operation.role, operation.window


class _Tracer(TorchDispatchMode):
    """Follows one image: records the origin of every tensor computed from it, and a Layer for every operation."""

    def __init__(self, image: Tensor) -> None:
        super().__init__()
        rows, columns = Field(image.shape[2]), Field(image.shape[3])
        self.layers = [Layer("image", "input", "image", None, tuple(image.shape[1:]), rows, columns, (), 0, 0)]
        self._origins = {id(image): _Origin(image, rows, columns, (0,))}
        self._calls: list[_ModuleCall] = []
        self._counted: set[int] = set()

    def origins_of(self, tree: Any) -> list[_Origin]:
        """Return the origins of the tensors in nested arguments, for those that were computed from the image."""
        return [self._origins[id(leaf)] for leaf in tree_leaves(tree) if id(leaf) in self._origins]

    @contextmanager
    def recording(self, network: nn.Module) -> Iterator[None]:
        """Record which module is running inside the block."""
        with ExitStack() as stack:
            for name, module in network.named_modules():
                is_leaf = module is not network and not any(module.children())
                enter = partial(self._enter, name, is_leaf)
                stack.callback(module.register_forward_pre_hook(enter).remove)
                stack.callback(module.register_forward_hook(self._leave).remove)
            yield

    def _enter(self, name: str, is_leaf: bool, module: nn.Module, _args: Any) -> None:
        self._calls.append(_ModuleCall(name, module, is_leaf))

    def _leave(self, _module: nn.Module, _args: Any, output: Any) -> None:
        call = self._calls.pop()
        if not (call.is_leaf and call.is_touched):
            return
        origins = self.origins_of(output)
        if not origins:
            raise FirstlightError(f"{call.name}: its output cannot be followed back to the image.")
        # The attribute `stands_for` of a layer with a native kernel is the name of the PyTorch layer that it replaces.
        self._add_layer(getattr(call.module, "stands_for", type(call.module).__name__), call, origins)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operator; if an argument was computed from the image, record the operation."""
        kwargs = kwargs or {}
        origins = self.origins_of((args, kwargs))
        output = func(*args, **kwargs)
        results = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
        if origins and results:
            count = flop_registry.get(func.overloadpacket)
            macs = count(*args, **kwargs, out_val=output) // 2 if count else 0
            self._follow(func, args, origins, results, macs)
        return output

    def _follow(
        self, func: Any, args: tuple[Any, ...], origins: list[_Origin], results: list[Tensor], macs: int
    ) -> None:
        name = func.overloadpacket.__name__.strip("_")
        rows = reduce(Field.union, (origin.rows for origin in origins))
        columns = reduce(Field.union, (origin.columns for origin in origins))
        operation = read_operation(name, args, origins[0].tensor, results[0], (rows.size, columns.size))
        rows, columns = operation.apply_to(rows, 0), operation.apply_to(columns, 1)
        sources = tuple(dict.fromkeys(source for origin in origins for source in origin.sources))
        outputs = [_Origin(result, rows, columns, sources) for result in results]
        self._origins |= {id(output.tensor): output for output in outputs}
        call = self._calls[-1]
        if call.is_leaf:
            call.add(operation, macs)
        elif operation.window or not (func.is_view or name in COPIES):
            kind = "linear" if operation.role == "linear" else name.removesuffix("_with_indices")
            functional = _ModuleCall(f"{call.name}.{kind}".lstrip("."), call.module, is_leaf=False)
            functional.add(operation, macs)
            self._add_layer(kind, functional, outputs)

    def _add_layer(self, kind: str, call: _ModuleCall, outputs: list[_Origin]) -> None:
        output = outputs[0]
        parameters = [p for p in call.module.parameters(recurse=False) if id(p) not in self._counted]
        self._counted |= {id(parameter) for parameter in parameters}
        self.layers.append(
            Layer(
                name=call.name,
                kind=kind,
                role="join" if call.role == "pointwise" and len(output.sources) > 1 else call.role,
                window=call.window,
                output=tuple(output.tensor.shape[1:]),
                rows=output.rows,
                columns=output.columns,
                sources=output.sources,
                parameters=sum(parameter.numel() for parameter in parameters),
                macs=call.macs,
            )
        )
        index = len(self.layers) - 1
        self._origins |= {id(output.tensor): replace(output, sources=(index,)) for output in outputs}
