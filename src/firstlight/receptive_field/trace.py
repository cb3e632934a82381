"""Every layer of a network, found by watching one image go through it.

Operations are watched below the level of modules (a torch dispatch mode), so that branches, sums and functional calls
count like modules do, and the code between them may be any Python.
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
from firstlight.receptive_field.operations import PASSIVE, Role, Step, move


@dataclass(frozen=True)
class Layer:
    """One row of a network: a module without children, or an operation called between modules.

    Args:
        name: qualified name of the module; an operation is named after the module that calls it.
        kind: class of the module, or name of the operation.
        role: what it does to the map; "join" is where paths meet.
        window: what it slides over the map, if it does.
        output: shape of what comes out for one image: (c, h, w), or (f,).
        rows: receptive fields along the height.
        columns: likewise along the width.
        sources: positions in the trace of the layers whose outputs it takes.
        parameters: its own; those shared with an earlier layer are not counted again.
        macs: multiply-accumulates of its convolutions and matrix products for one image.
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
        """Name of the network's own child in which it lies."""
        return self.name.split(".")[0]

    @property
    def box_px(self) -> tuple[int, int, int, int]:
        """What the central unit sees: first row, first column, last row, last column; may reach over the edge."""
        top, bottom = self.rows.seen_by(self.rows.size // 2)
        left, right = self.columns.seen_by(self.columns.size // 2)
        return top, left, bottom, right


def trace(network: nn.Module, size_px: int) -> tuple[Layer, ...]:
    """Return every layer of a network in the order in which one image passes them; the first is the image itself.

    What passes its input on as it is (dropout in evaluation, identities, views between modules) has no row.
    Normalization counts as pointwise. A vector keeps the field of the map that it was flattened from, and a
    linear layer behind it sees that map whole. Adaptive pools with unequal windows count with the widest.

    Args:
        network: takes RGB images in [0, 1]; its mode is given back.
        size_px: side of the square image.

    Raises:
        UsageError: the network cannot take images of this size.
        FirstlightError: an operation moves pixels in a way that is not followed here, an upsampling for instance.

    >>> two = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.MaxPool2d(2))
    >>> [(layer.name, layer.output, layer.rows.receptive_field_px) for layer in trace(two, 32)]
    [('image', (3, 32, 32), 1), ('0', (8, 32, 32), 3), ('1', (8, 16, 16), 4)]
    """
    like = next(network.parameters(), torch.zeros(()))
    image = like.new_zeros(1, 3, size_px, size_px)
    tracer = _Tracer(image)
    with torch.no_grad(), in_evaluation(network), tracer.watching(network), tracer:
        try:
            output = network(image)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise UsageError(f"{type(network).__name__} cannot take {size_px}x{size_px} images: {reason}") from error
    if not tracer.trails_of(output):
        raise FirstlightError(f"{type(network).__name__}: its output cannot be followed back to the image.")
    return tuple(tracer.layers)


def output_of(layers: Sequence[Layer], stage: str) -> Layer:
    """Return the layer whose output is the output of a module, at whatever depth it lies.

    Raises:
        UsageError: no layer lies in such a module.

    >>> deep = nn.Sequential(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), nn.Flatten())
    >>> output_of(trace(deep, 32), "0").name
    '0.1'
    """
    inside = [layer for layer in layers if f"{layer.name}.".startswith(f"{stage}.")]
    if not inside:
        known = ", ".join(dict.fromkeys(layer.stage for layer in layers))
        raise UsageError(f"no stage is named {stage!r}; choose one of {known}.")
    return inside[-1]


@dataclass(frozen=True, eq=False)
class _Trail:
    """Where a tensor comes from. It holds the tensor, so that nobody else gets its id."""

    tensor: Tensor
    rows: Field
    columns: Field
    sources: tuple[int, ...]


@dataclass(eq=False)
class _Call:
    """A module while it runs, and what was seen of it so far."""

    name: str
    module: nn.Module
    is_leaf: bool
    role: Role = "pointwise"
    window: Window | None = None
    macs: int = 0
    is_touched: bool = False

    def add(self, step: Step, macs: int) -> None:
        """Take in one operation; the module is called after its first that is more than pointwise."""
        self.is_touched = True
        self.macs += macs
        if self.role == "pointwise":
            self.role, self.window = step.role, step.window


class _Tracer(TorchDispatchMode):
    """Follows one image: a trail for every tensor made from it, a Layer for every step."""

    def __init__(self, image: Tensor) -> None:
        super().__init__()
        rows, columns = Field(image.shape[2]), Field(image.shape[3])
        self.layers = [Layer("image", "input", "image", None, tuple(image.shape[1:]), rows, columns, (), 0, 0)]
        self._trails = {id(image): _Trail(image, rows, columns, (0,))}
        self._calls: list[_Call] = []
        self._counted: set[int] = set()

    def trails_of(self, tree: Any) -> list[_Trail]:
        """Return the trails of those tensors in a nest of arguments that were made from the image."""
        return [self._trails[id(leaf)] for leaf in tree_leaves(tree) if id(leaf) in self._trails]

    @contextmanager
    def watching(self, network: nn.Module) -> Iterator[None]:
        """Know which module runs while the block lasts."""
        with ExitStack() as stack:
            for name, module in network.named_modules():
                is_leaf = module is not network and not any(module.children())
                enter = partial(self._enter, name, is_leaf)
                stack.callback(module.register_forward_pre_hook(enter).remove)
                stack.callback(module.register_forward_hook(self._leave).remove)
            yield

    def _enter(self, name: str, is_leaf: bool, module: nn.Module, _args: Any) -> None:
        self._calls.append(_Call(name, module, is_leaf))

    def _leave(self, _module: nn.Module, _args: Any, output: Any) -> None:
        call = self._calls.pop()
        if not (call.is_leaf and call.is_touched):
            return
        trails = self.trails_of(output)
        if not trails:
            raise FirstlightError(f"{call.name}: its output cannot be followed back to the image.")
        # A layer that computes one of PyTorch's by a faster way says whose.
        self._add_layer(getattr(call.module, "stands_for", type(call.module).__name__), call, trails)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operation; if it takes something made from the image, follow it."""
        kwargs = kwargs or {}
        trails = self.trails_of((args, kwargs))
        output = func(*args, **kwargs)
        results = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
        if trails and results:
            count = flop_registry.get(func.overloadpacket)
            macs = count(*args, **kwargs, out_val=output) // 2 if count else 0
            self._follow(func, args, trails, results, macs)
        return output

    def _follow(self, func: Any, args: tuple[Any, ...], trails: list[_Trail], results: list[Tensor], macs: int) -> None:
        operation = func.overloadpacket.__name__.strip("_")
        rows, columns = reduce(Field.union, (t.rows for t in trails)), reduce(Field.union, (t.columns for t in trails))
        step = move(operation, args, trails[0].tensor, results[0], (rows.size, columns.size))
        rows, columns = step.along(rows, 0), step.along(columns, 1)
        sources = tuple(dict.fromkeys(source for trail in trails for source in trail.sources))
        made = [_Trail(result, rows, columns, sources) for result in results]
        self._trails |= {id(trail.tensor): trail for trail in made}
        call = self._calls[-1]
        if call.is_leaf:
            call.add(step, macs)
        elif step.window or not (func.is_view or operation in PASSIVE):
            kind = "linear" if step.role == "linear" else operation.removesuffix("_with_indices")
            alone = _Call(f"{call.name}.{kind}".lstrip("."), call.module, is_leaf=False)
            alone.add(step, macs)
            self._add_layer(kind, alone, made)

    def _add_layer(self, kind: str, call: _Call, made: list[_Trail]) -> None:
        out = made[0]
        parameters = [p for p in call.module.parameters(recurse=False) if id(p) not in self._counted]
        self._counted |= {id(parameter) for parameter in parameters}
        self.layers.append(
            Layer(
                name=call.name,
                kind=kind,
                role="join" if call.role == "pointwise" and len(out.sources) > 1 else call.role,
                window=call.window,
                output=tuple(out.tensor.shape[1:]),
                rows=out.rows,
                columns=out.columns,
                sources=out.sources,
                parameters=sum(parameter.numel() for parameter in parameters),
                macs=call.macs,
            )
        )
        here = (len(self.layers) - 1,)
        self._trails |= {id(trail.tensor): replace(trail, sources=here) for trail in made}
