"""Muon: orthogonalizes the momentum update of each matrix; SGD updates all other parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, Literal, NamedTuple, TypedDict, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from firstlight.optim import muon_fused

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic polynomial: steep at 0, so that few steps suffice
NUM_NEWTON_SCHULZ_STEPS = 3
_EPSILON = 1e-7


class Group(TypedDict, total=False):
    """A group of parameters, with its kind of update and its learning rate."""

    params: Iterable[Tensor]
    kind: Literal["muon", "sgd"]
    name: str
    lr: float
    momentum: float
    weight_decay: float


def orthogonalized(
    stacks: Sequence[Float[Tensor, "_ _ _"]], num_steps: int = NUM_NEWTON_SCHULZ_STEPS
) -> list[Float[Tensor, "_ _ _"]]:
    """Compute approximately the nearest matrix with orthonormal rows or columns: U V^T of each matrix's SVD U S V^T.

    The Newton-Schulz iteration with a quintic polynomial, from X = G / |G| (Frobenius norm):

        A = X X^T,   P = a I + b A + c A A,   X <- P X

    After five steps, every singular value is between 0.7 and 1.2, which is accurate enough for an update. (Jordan et
    al. 2024, "Muon: An optimizer for hidden layers in neural networks"; Bernstein and Newhouse 2024, arXiv 2409.20325.)
    Since A and P commute, A is updated by A <- P A P, and X is multiplied once at the end by the product of all P. This
    halves the operations for matrices with many more columns than rows, such as filters. All A are padded with zeros to
    one size, so that one batched iteration handles all matrices. In bfloat16 the result has an error of 1 %.

    Args:
        stacks: Matrices G, in stacks of equal shape, float [b rows columns].
        num_steps: Number of iterations, at least 1.

    Returns:
        Orthogonalized matrices, in the order, dtypes and shapes of `stacks`.

    >>> (found,) = orthogonalized([torch.tensor([[[3.0, 0.0], [0.0, 1.0]]])], num_steps=5)
    >>> bool(((0.6 < found.diagonal(dim1=1, dim2=2)) & (found.diagonal(dim1=1, dim2=2) < 1.3)).all())
    True
    """
    wide = [stack.mT if stack.shape[1] > stack.shape[2] else stack for stack in stacks]
    num_rows = max(x.shape[1] for x in wide)
    paddings = [num_rows - x.shape[1] for x in wide]
    gram = torch.cat([F.pad(x @ x.mT, (0, padding) * 2) for x, padding in zip(wide, paddings, strict=True)])
    norm = gram.diagonal(dim1=1, dim2=2).sum(dim=1).sqrt() + _EPSILON  # |G| is the square root of the trace of G G^T
    gram = gram / norm[:, None, None] ** 2
    product = factor = _quintic_factor(gram)
    for _ in range(num_steps - 1):
        gram = factor @ gram @ factor
        factor = _quintic_factor(gram)
        product = factor @ product
    products = (product / norm[:, None, None]).split([len(x) for x in wide])
    found = [p[:, : x.shape[1], : x.shape[1]] @ x for p, x in zip(products, wide, strict=True)]
    return [x.mT if stack.shape[1] > stack.shape[2] else x for x, stack in zip(found, stacks, strict=True)]


def _quintic_factor(gram: Float[Tensor, "b rows rows"]) -> Float[Tensor, "b rows rows"]:
    """Return P, the factor of one step of the iteration, from A = X X^T."""
    a, b, c = COEFFICIENTS
    factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
    factor.diagonal(dim1=1, dim2=2).add_(a)
    return factor


class Muon(torch.optim.Optimizer):
    """Muon for groups of kind "muon", SGD with Nesterov momentum for groups of kind "sgd", as one optimizer.

    A "muon" parameter W with gradient G and momentum m is updated as a matrix, with its trailing axes flattened:

        B <- m B + G,   U = orthogonalized(G + m B),   W <- sqrt(rows) W / |W| - lr U

    Every step sets the norm of the weight to sqrt(rows): before batch norm only its direction matters, and with a
    fixed norm the learning rate is an angle. An "sgd" parameter with decay d is updated by

        G <- G + d W,   B <- m B + G,   W <- W - lr (G + m B)

    Args:
        groups: Groups of parameters.
        lr: Learning rate of groups without one.
        momentum: Momentum of groups without one.
        weight_decay: Weight decay of "sgd" groups without one; "muon" groups have no decay, since their norm is fixed.
        matmul_dtype: Dtype in which matrices are orthogonalized, for instance bfloat16 where it is faster; None means
            the dtype of the gradients.

    Raises:
        ValueError: A group's kind is unknown, or a "muon" parameter has fewer than two axes.
    """

    def __init__(
        self,
        groups: Iterable[Group],
        lr: float = 0.1,
        momentum: float = 0.6,
        weight_decay: float = 0.0,
        matmul_dtype: torch.dtype | None = None,
    ) -> None:
        defaults = {"kind": "sgd", "lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__([dict(group) for group in groups], defaults)
        self.matmul_dtype = matmul_dtype
        self._rates: list[Tensor] = []  # on the device, where a captured update reads them
        self._replay: Callable[[], None] | None = None
        for group in self.param_groups:
            if group["kind"] not in ("muon", "sgd"):
                raise ValueError(f"a group's kind is 'muon' or 'sgd', not {group['kind']!r}")
            if group["kind"] == "muon" and any(each.ndim < 2 for each in group["params"]):
                raise ValueError("Muon is for matrices and filters: a parameter with one axis belongs in an sgd group")

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Perform one update of all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if self._replay is None:
            _update(self._updates([group["lr"] for group in self.param_groups]))
        else:
            for rate, group in zip(self._rates, self.param_groups, strict=True):
                rate.fill_(group["lr"])
            self._replay()
        return loss

    def capture_update(self, capture: Callable[..., Callable[[], None]], *, is_compiled: bool = False) -> None:
        """Capture the update of all parameters that have a gradient now; later steps replay it.

        The gradients must keep their memory: write new values in place.

        Args:
            capture: Function that captures an update and returns its replay; see `training.steps.cuda_graph.capture`.
            is_compiled: Whether `torch.compile` compiles the update first.
        """
        self._rates = [torch.zeros((), device=group["params"][0].device) for group in self.param_groups]
        updates = self._updates(self._rates)
        changed = [each for group in updates for each in (*group.parameters, *group.buffers)]
        update = _compiled_update() if is_compiled else _update
        self._replay = capture(lambda: update(updates), [], changed)

    def _updates(self, rates: Sequence[float | Tensor]) -> list[_GroupUpdate]:
        """Return the update of each group, for the parameters that have a gradient."""
        updates = []
        for group, rate in zip(self.param_groups, rates, strict=True):
            parameters = [each for each in group["params"] if each.grad is not None]
            lists = parameters, [each.grad for each in parameters], [self._buffer(each) for each in parameters]
            is_muon, numbers = group["kind"] == "muon", (group["momentum"], group["weight_decay"])
            if parameters:
                updates.append(_GroupUpdate(is_muon, *lists, rate, *numbers, self.matmul_dtype))
        return updates

    def _buffer(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        return cast(Tensor, state["momentum_buffer"])


class _GroupUpdate(NamedTuple):
    """The operands of a group's update: only tensors and numbers, so that the update can be compiled and captured."""

    is_muon: bool
    parameters: list[Tensor]
    gradients: list[Tensor]
    buffers: list[Tensor]
    rate: float | Tensor
    momentum: float
    weight_decay: float
    matmul_dtype: torch.dtype | None


@torch.no_grad()
def _update(groups: list[_GroupUpdate]) -> None:
    for group in groups:
        update = _apply_sgd
        if group.is_muon:
            dtype = group.matmul_dtype or torch.float32
            is_fast = muon_fused.is_faster(group.parameters, group.gradients, group.buffers, dtype)
            update = _apply_muon_fused if is_fast else _apply_muon
        update(group)


@cache
def _compiled_update() -> Callable[[list[_GroupUpdate]], None]:
    return cast(Callable[[list[_GroupUpdate]], None], torch.compile(_update, fullgraph=True, dynamic=False))


def _apply_sgd(group: _GroupUpdate) -> None:
    gradients = group.gradients
    if group.weight_decay:
        gradients = list(torch._foreach_add(gradients, group.parameters, alpha=group.weight_decay))
    updates = _lookahead(gradients, group)
    torch._foreach_mul_(updates, group.rate)
    torch._foreach_sub_(group.parameters, updates)


def _apply_muon(group: _GroupUpdate) -> None:
    updates = _lookahead(group.gradients, group)
    norms = torch._foreach_norm(group.parameters)
    torch._foreach_mul_(
        group.parameters, [len(w) ** 0.5 / norm for w, norm in zip(group.parameters, norms, strict=True)]
    )
    orders = [_axes_in_memory(each) for each in group.parameters]
    parameters = [each.permute(axes) for each, axes in zip(group.parameters, orders, strict=True)]
    matrices = [each.permute(axes).flatten(1) for each, axes in zip(updates, orders, strict=True)]
    shapes = list(dict.fromkeys(each.shape for each in matrices))
    stacks = [torch.stack([each for each in matrices if each.shape == shape]) for shape in shapes]
    found = orthogonalized([each.to(group.matmul_dtype or each.dtype) for each in stacks])
    steps = {
        shape: iter(stack.to(parameters[0].dtype) * group.rate) for shape, stack in zip(shapes, found, strict=True)
    }
    matrix_steps = [next(steps[each.shape]) for each in matrices]
    torch._foreach_sub_(parameters, [step.view(w.shape) for step, w in zip(matrix_steps, parameters, strict=True)])


def _apply_muon_fused(group: _GroupUpdate) -> None:
    """Apply the same update as `_apply_muon` with native kernels; columns are in memory order in both."""
    indices: dict[tuple[int, int], list[int]] = {}  # indices of the parameters of each matrix shape
    for index, weight in enumerate(group.parameters):
        indices.setdefault((len(weight), weight[0].numel()), []).append(index)
    dtype = group.matmul_dtype or torch.float32
    stacks = [torch.empty(len(these), *shape, dtype=dtype) for shape, these in indices.items()]
    matrices = (x for stack in stacks for x in stack)
    matrix_of = dict(zip((index for these in indices.values() for index in these), matrices, strict=True))
    lists = group.parameters, group.gradients, group.buffers
    norms = [
        muon_fused.nesterov_update(*each, matrix_of[i], group.momentum)
        for i, each in enumerate(zip(*lists, strict=True))
    ]
    for these, updates in zip(indices.values(), orthogonalized(stacks), strict=True):
        for index, update in zip(these, updates, strict=True):
            weight = group.parameters[index]
            muon_fused.scale_and_subtract(weight, update, len(weight) ** 0.5 / norms[index], group.rate)


def _lookahead(gradients: list[Tensor], group: _GroupUpdate) -> list[Tensor]:
    """Add the gradients to the momentum buffers and return Nesterov's updates, gradient + momentum * buffer."""
    torch._foreach_mul_(group.buffers, group.momentum)
    torch._foreach_add_(group.buffers, gradients)
    return list(torch._foreach_add(gradients, group.buffers, alpha=group.momentum))


def _axes_in_memory(weight: Tensor) -> tuple[int, ...]:
    """Return the axes of a weight: the first, then the others in memory order, outermost first.

    Orthogonality does not depend on the order of the columns. In memory order, filters need not be copied.
    """
    return 0, *sorted(range(1, weight.ndim), key=weight.stride, reverse=True)
