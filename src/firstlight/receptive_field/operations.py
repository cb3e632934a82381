"""What each operation does to a map: its role, and the window it slides.

Names and arguments are those of torch's own operators (`torch.ops.aten`), which are few: `nn.MaxPool2d`,
`F.max_pool2d` and `torch.max_pool2d` all arrive here as one.
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
class Step:
    """What one operation did.

    Args:
        role: what the operation is to a reader of the network.
        window: what it slid over the map; None where each position stays by itself.
        grid: rows and columns of the map that comes out.
    """

    role: Role
    window: Window | None
    grid: Pair

    def along(self, field: Field, axis: int) -> Field:
        """Return the receptive fields after the step, along rows (0) or columns (1)."""
        if not self.window:
            return field
        kernel, stride, padding, dilation = (
            pair[axis] for pair in (self.window.kernel, self.window.stride, self.window.padding, self.window.dilation)
        )
        return field.slide(self.grid[axis], kernel, stride, padding, dilation)


def move(name: str, args: tuple[Any, ...], before: Tensor, after: Tensor, grid: Pair) -> Step:
    """Read what an operation does to a map.

    Args:
        name: of the operator, without leading or trailing underscores.
        args: of the operator.
        before: the tensor that it takes, for one image.
        after: the tensor that it returns.
        grid: rows and columns of the map in `before`, which may lie there flattened.

    Raises:
        FirstlightError: it moves positions in a way that is not followed here.
    """
    use = _Use(args, before, after, grid)
    window = READERS[name](use) if name in READERS else None
    is_lost = window is None and grid != (1, 1) and after.ndim == 4 and not map_axes(after, grid)
    if is_lost or "attention" in name or "transformer" in name:
        raise FirstlightError(f"receptive fields cannot be followed through {name}.")
    role: Role = "convolution" if name == "convolution" else "linear" if name in MATRIX else "pointwise"
    if window and name in POOLS:
        role = "pool"
    if not window:
        return Step(role, None, grid)
    if use.axes and name not in REDUCTIONS + MATRIX:
        return Step(role, window, (after.shape[use.axes[0]], after.shape[use.axes[1]]))
    return Step(role, window, (grid[0] // window.stride[0], grid[1] // window.stride[1]))


def map_axes(tensor: Tensor, grid: Pair) -> Pair | None:
    """Return where rows and columns lie in a tensor [1 c h w] or [1 h w c]; None if it is laid out otherwise."""
    shape = tuple(tensor.shape)
    if len(shape) != 4:
        return None
    return (2, 3) if shape[2:] == grid else (1, 2) if shape[1:3] == grid else None


class _Use:
    """One use of an operator: its arguments, what came in and out, and the map's axes and size before."""

    def __init__(self, args: tuple[Any, ...], before: Tensor, after: Tensor, grid: Pair) -> None:
        self.args, self.before, self.after, self.grid = args, before, after, grid
        self.axes = map_axes(before, grid)

    def argument(self, position: int, default: Any = None) -> Any:
        """Return an argument; operators are called without those at the end that have their default."""
        return self.args[position] if position < len(self.args) else default


def _convolution(use: _Use) -> Window:
    _, weight, _, stride, padding, dilation, is_transposed, *_ = use.args
    if is_transposed or use.axes != (2, 3):
        raise FirstlightError("receptive fields cannot be followed through a transposed or 1-d convolution.")
    return Window(_pair(weight.shape[2:]), _pair(stride), _pair(padding), _pair(dilation))


def _mean_pool(use: _Use) -> Window:
    kernel = use.argument(1)
    return Window(_pair(kernel), _pair(use.argument(2) or kernel), _pair(use.argument(3, 0)))


def _max_pool(use: _Use) -> Window:
    kernel = use.argument(1)
    stride, padding, dilation = use.argument(2) or kernel, use.argument(3, 0), use.argument(4, 1)
    return Window(_pair(kernel), _pair(stride), _pair(padding), _pair(dilation))


def _adaptive_pool(use: _Use) -> Window:
    sizes = list(zip(use.grid, use.after.shape[2:], strict=True))
    # Unit i sees positions floor(i n / m) up to ceil((i + 1) n / m); where m does not divide n, take the widest.
    kernels = [max(-(-(i + 1) * n // m) - i * n // m for i in range(m)) for n, m in sizes]
    return Window(_pair(kernels), _pair([-(-n // m) for n, m in sizes]))


def _padding(use: _Use) -> Window:
    if use.axes != (2, 3):
        raise FirstlightError("receptive fields cannot be followed through the padding of a map laid out [n h w c].")
    sides = [*use.argument(1), 0, 0]  # left, right, top, bottom
    return Window((1, 1), padding=(sides[2], sides[0]))


def _slice(use: _Use) -> Window | None:
    dim = use.argument(1, 0) % use.before.ndim
    if not use.axes or dim not in use.axes:
        return None
    start, step = use.argument(2) or 0, use.argument(4, 1)
    skipped = start % use.before.shape[dim]
    if dim == use.axes[0]:
        return Window((1, 1), stride=(step, 1), padding=(-skipped, 0))
    return Window((1, 1), stride=(1, step), padding=(0, -skipped))


def _reduction(use: _Use) -> Window | None:
    if use.after.numel() == use.before.numel():
        return None  # the larger of two tensors, say
    dims = use.argument(1)
    if not use.axes or dims is None:
        return Window(use.grid, use.grid)
    gone = {dim % 4 for dim in ([dims] if isinstance(dims, int) else dims)}
    rows, columns = (size if axis in gone else 1 for axis, size in zip(use.axes, use.grid, strict=True))
    return Window((rows, columns), (rows, columns)) if (rows, columns) != (1, 1) else None


def _matrix(use: _Use) -> Window | None:
    positions = use.grid[0] * use.grid[1]
    is_row_each = use.before.ndim == use.after.ndim == 2 and len(use.before) == len(use.after) == positions
    return None if is_row_each else Window(use.grid, use.grid)


def _pair(value: Any) -> Pair:
    values = [value] if isinstance(value, int) else list(value)
    return int(values[0]), int(values[-1])


REDUCTIONS = ("mean", "sum", "amax", "amin", "max", "min", "logsumexp", "linalg_vector_norm", "var", "std")
MATRIX = ("mm", "addmm", "bmm", "baddbmm", "mv", "addmv", "dot")
PASSIVE = ("clone", "to_copy", "unsafe_view", "contiguous", "copy")  # change nothing that a reader wants to see
READERS: dict[str, Callable[[_Use], Window | None]] = {
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
    **dict.fromkeys(MATRIX, _matrix),
}
POOLS = tuple(name for name in READERS if "pool" in name) + REDUCTIONS
