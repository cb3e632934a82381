"""The role and the sliding window of each PyTorch operator.

The operators are those of `torch.ops.aten`. A short table suffices, because for instance `nn.MaxPool2d`, `F.max_pool2d`
and `torch.max_pool2d` all call the same operator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from firstlight.errors import FirstlightError
from firstlight.receptive_field.fields import Field, Pair, Window

Role = Literal["image", "convolution", "pool", "linear", "join", "pointwise"]


@dataclass(frozen=True)
class Operation:
    """One operation on a map.

    Args:
        role: Kind of operation, as a layer table shows it.
        window: Sliding window; None for a pointwise operation.
        map_size: Rows and columns of the output map.
    """

    role: Role
    window: Window | None
    map_size: Pair

    def apply_to(self, field: Field, axis: int) -> Field:
        """Return the receptive fields after the operation, along rows (0) or columns (1)."""
        if not self.window:
            return field
        kernel, stride, padding, dilation = (
            pair[axis] for pair in (self.window.kernel, self.window.stride, self.window.padding, self.window.dilation)
        )
        return field.slide(self.map_size[axis], kernel, stride, padding, dilation)


def read_operation(name: str, args: tuple[Any, ...], before: Tensor, after: Tensor, map_size: Pair) -> Operation:
    """Return the role and the sliding window of one operator call.

    Args:
        name: Name of the operator, without leading or trailing underscores.
        args: Arguments of the operator.
        before: Input tensor, for one image.
        after: Output tensor.
        map_size: Rows and columns of the map in `before`, which may be flattened there.

    Raises:
        FirstlightError: The operator moves positions in a way that is not supported.
    """
    call = _OperatorCall(args, before, after, map_size)
    window = WINDOW_READERS[name](call) if name in WINDOW_READERS else None
    is_lost = window is None and map_size != (1, 1) and after.ndim == 4 and not map_axes(after, map_size)
    if is_lost or "attention" in name or "transformer" in name:
        raise FirstlightError(f"receptive fields cannot be followed through {name}.")
    role: Role = "convolution" if name == "convolution" else "linear" if name in MATRIX_PRODUCTS else "pointwise"
    if window and name in POOLS:
        role = "pool"
    if not window:
        return Operation(role, None, map_size)
    if call.axes and name not in REDUCTIONS + MATRIX_PRODUCTS:
        return Operation(role, window, (after.shape[call.axes[0]], after.shape[call.axes[1]]))
    return Operation(role, window, (map_size[0] // window.stride[0], map_size[1] // window.stride[1]))


def map_axes(tensor: Tensor, map_size: Pair) -> Pair | None:
    """Return the axes of rows and columns in a tensor [1 c h w] or [1 h w c]; None for any other layout."""
    shape = tuple(tensor.shape)
    if len(shape) != 4:
        return None
    return (2, 3) if shape[2:] == map_size else (1, 2) if shape[1:3] == map_size else None


class _OperatorCall:
    """One call of an operator: its arguments, its input and output, and the input map's size and axes."""

    def __init__(self, args: tuple[Any, ...], before: Tensor, after: Tensor, map_size: Pair) -> None:
        self.args, self.before, self.after, self.map_size = args, before, after, map_size
        self.axes = map_axes(before, map_size)

    def argument(self, position: int, default: Any = None) -> Any:
        """Return an argument, or its default: PyTorch omits trailing arguments that have their default."""
        return self.args[position] if position < len(self.args) else default


def _convolution(call: _OperatorCall) -> Window:
    _, weight, _, stride, padding, dilation, is_transposed, *_ = call.args
    if is_transposed or call.axes != (2, 3):
        raise FirstlightError("receptive fields cannot be followed through a transposed or 1-d convolution.")
    return Window(_pair(weight.shape[2:]), _pair(stride), _pair(padding), _pair(dilation))


def _mean_pool(call: _OperatorCall) -> Window:
    kernel = call.argument(1)
    return Window(_pair(kernel), _pair(call.argument(2) or kernel), _pair(call.argument(3, 0)))


def _max_pool(call: _OperatorCall) -> Window:
    kernel = call.argument(1)
    stride, padding, dilation = call.argument(2) or kernel, call.argument(3, 0), call.argument(4, 1)
    return Window(_pair(kernel), _pair(stride), _pair(padding), _pair(dilation))


def _adaptive_pool(call: _OperatorCall) -> Window:
    sizes = list(zip(call.map_size, call.after.shape[2:], strict=True))
    # Unit i covers positions floor(i n / m) to ceil((i + 1) n / m); if m does not divide n, the widest window counts.
    kernels = [max(-(-(i + 1) * n // m) - i * n // m for i in range(m)) for n, m in sizes]
    return Window(_pair(kernels), _pair([-(-n // m) for n, m in sizes]))


def _padding(call: _OperatorCall) -> Window:
    if call.axes != (2, 3):
        raise FirstlightError("receptive fields cannot be followed through the padding of a map laid out [n h w c].")
    sides = [*call.argument(1), 0, 0]  # left, right, top, bottom
    return Window((1, 1), padding=(sides[2], sides[0]))


def _slice(call: _OperatorCall) -> Window | None:
    dim = call.argument(1, 0) % call.before.ndim
    if not call.axes or dim not in call.axes:
        return None
    start, step = call.argument(2) or 0, call.argument(4, 1)
    skipped = start % call.before.shape[dim]
    if dim == call.axes[0]:
        return Window((1, 1), stride=(step, 1), padding=(-skipped, 0))
    return Window((1, 1), stride=(1, step), padding=(0, -skipped))


def _reduction(call: _OperatorCall) -> Window | None:
    if call.after.numel() == call.before.numel():
        return None  # elementwise, for instance the maximum of two tensors
    dims = call.argument(1)
    if not call.axes or dims is None:
        return Window(call.map_size, call.map_size)
    reduced = {dim % 4 for dim in ([dims] if isinstance(dims, int) else dims)}
    rows, columns = (size if axis in reduced else 1 for axis, size in zip(call.axes, call.map_size, strict=True))
    return Window((rows, columns), (rows, columns)) if (rows, columns) != (1, 1) else None


def _matrix_product(call: _OperatorCall) -> Window | None:
    positions = call.map_size[0] * call.map_size[1]
    is_per_position = call.before.ndim == call.after.ndim == 2 and len(call.before) == len(call.after) == positions
    return None if is_per_position else Window(call.map_size, call.map_size)


def _pair(value: Any) -> Pair:
    values = [value] if isinstance(value, int) else list(value)
    return int(values[0]), int(values[-1])


REDUCTIONS = ("mean", "sum", "amax", "amin", "max", "min", "logsumexp", "linalg_vector_norm", "var", "std")
MATRIX_PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "mv", "addmv", "dot")
COPIES = ("clone", "to_copy", "unsafe_view", "contiguous", "copy")  # operators without a row in the layer table
WINDOW_READERS: dict[str, Callable[[_OperatorCall], Window | None]] = {
    "convolution": _convolution,
    "max_pool2d": _max_pool,
    "max_pool2d_with_indices": _max_pool,
    "avg_pool2d": _mean_pool,
    "adaptive_avg_pool2d": _adaptive_pool,
    "adaptive_max_pool2d": _adaptive_pool,
    "constant_pad_nd": _padding,
    "reflection_pad2d": _padding,
    "replication_pad2d": _padding,
    "slice": _slice,
    **dict.fromkeys(REDUCTIONS, _reduction),
    **dict.fromkeys(MATRIX_PRODUCTS, _matrix_product),
}
POOLS = tuple(name for name in WINDOW_READERS if "pool" in name) + REDUCTIONS
