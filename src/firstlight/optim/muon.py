"""Muon: momentum whose matrix is replaced by the nearest orthogonal one, beside SGD for everything else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, Literal, TypedDict

import torch
from jaxtyping import Float
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic: steep at 0, so that few steps suffice
NUM_NEWTON_SCHULZ_STEPS = 3
_EPSILON = 1e-7


class Group(TypedDict, total=False):
    """One group of parameters: how they are updated, at what rate."""

    params: Iterable[Tensor]
    kind: Literal["muon", "sgd"]
    name: str
    lr: float
    momentum: float
    weight_decay: float


def orthogonalized(
    matrices: Float[Tensor, "b rows columns"], num_steps: int = NUM_NEWTON_SCHULZ_STEPS
) -> Float[Tensor, "b rows columns"]:
    """Return roughly the nearest matrix with orthonormal rows or columns: U V^T of each matrix's U S V^T.

    Newton and Schulz's iteration with a quintic polynomial on X = G / |G|:

        A = X X^T,   P = a I + b A + c A A,   X <- P X

    It brings every singular value near 1, somewhere between 0.7 and 1.2 after five steps, which serves as well as 1.
    (Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; Bernstein and Newhouse 2024,
    arXiv 2409.20325.) As A and P commute, A follows A <- P A P, and X is only multiplied in the end, by all P at once:
    half the operations where a matrix has many more columns than rows, as those of filters do. In bfloat16 the result
    is 1 % off, which serves as well, too.

    Args:
        matrices: G, float [b rows columns], a batch of equal shape.
        num_steps: of the iteration, at least 1.

    Returns:
        In the dtype and shape of `matrices`.

    >>> found = orthogonalized(torch.tensor([[[3.0, 0.0], [0.0, 1.0]]]), num_steps=5)
    >>> bool(((0.6 < found.diagonal(dim1=1, dim2=2)) & (found.diagonal(dim1=1, dim2=2) < 1.3)).all())
    True
    """
    is_tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if is_tall else matrices
    x = x / (x.flatten(1).norm(dim=1)[:, None, None] + _EPSILON)
    gram = x @ x.mT
    product = factor = _quintic_factor(gram)
    for _ in range(num_steps - 1):
        gram = factor @ gram @ factor
        factor = _quintic_factor(gram)
        product = factor @ product
    x = product @ x
    return x.mT if is_tall else x


def _quintic_factor(gram: Float[Tensor, "b rows rows"]) -> Float[Tensor, "b rows rows"]:
    """Return what one step multiplies the matrices by, from their X X^T."""
    a, b, c = COEFFICIENTS
    factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
    factor.diagonal(dim1=1, dim2=2).add_(a)
    return factor


class Muon(torch.optim.Optimizer):
    """Muon for groups of kind "muon", SGD with Nesterov momentum for groups of kind "sgd", as one optimizer.

    A "muon" parameter W with gradient G and momentum m, its trailing axes taken as one:

        B <- m B + G,   U = orthogonalized(G + m B),   W <- sqrt(rows) W / |W| - lr U

    The weight's norm is set anew at every step: under batch norm only its direction matters, and a fixed norm makes
    the learning rate an angle. An "sgd" parameter with decay d:

        G <- G + d W,   B <- m B + G,   W <- W - lr (G + m B)

    Args:
        groups: of parameters, each with its own numbers.
        lr: of groups that name none.
        momentum: likewise.
        weight_decay: likewise; "muon" groups take none, since their norm is fixed.
        matmul_dtype: in which matrices are orthogonalized: bfloat16 where that is multiplied faster; by default their
            own.

    Raises:
        ValueError: a group's kind is unknown, or a "muon" parameter has less than two axes.
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
        for group in self.param_groups:
            if group["kind"] not in ("muon", "sgd"):
                raise ValueError(f"a group's kind is 'muon' or 'sgd', not {group['kind']!r}")
            if group["kind"] == "muon" and any(each.ndim < 2 for each in group["params"]):
                raise ValueError(
                    "Muon is for matrices and filters: a parameter with one axis belongs into an sgd group"
                )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient once."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [each for each in group["params"] if each.grad is not None]
            if parameters:
                (self._muon if group["kind"] == "muon" else self._sgd)(parameters, group)
        return loss

    def _lookahead(self, parameters: list[Tensor], gradients: list[Tensor], momentum: float) -> list[Tensor]:
        """Add the gradients to the momentum and return Nesterov's look ahead: gradient + momentum * buffer."""
        for each in parameters:
            if "momentum_buffer" not in self.state[each]:
                self.state[each]["momentum_buffer"] = torch.zeros_like(each)
        buffers = [self.state[each]["momentum_buffer"] for each in parameters]
        torch._foreach_mul_(buffers, momentum)
        torch._foreach_add_(buffers, gradients)
        return list(torch._foreach_add(gradients, buffers, alpha=momentum))

    def _sgd(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        gradients = _gradients(parameters)
        if group["weight_decay"]:
            gradients = list(torch._foreach_add(gradients, parameters, alpha=group["weight_decay"]))
        updates = self._lookahead(parameters, gradients, group["momentum"])
        torch._foreach_add_(parameters, updates, alpha=-group["lr"])

    def _muon(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        updates = self._lookahead(parameters, _gradients(parameters), group["momentum"])
        norms = torch._foreach_norm(parameters)
        torch._foreach_mul_(parameters, [len(w) ** 0.5 / norm for w, norm in zip(parameters, norms, strict=True)])
        by_shape: dict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for parameter, update in zip(parameters, updates, strict=True):
            lying = _axes_in_memory(parameter)
            matrix = update.permute(lying).flatten(1).to(self.matmul_dtype or update.dtype)
            by_shape[matrix.shape].append((parameter.permute(lying), matrix))
        for pairs in by_shape.values():
            orthogonal = orthogonalized(torch.stack([matrix for _, matrix in pairs]))
            for (parameter, _), update in zip(pairs, orthogonal, strict=True):
                parameter.add_(update.to(parameter.dtype).view(parameter.shape), alpha=-group["lr"])


def _axes_in_memory(weight: Tensor) -> tuple[int, ...]:
    """Return the first axis and the others as they lie in memory, outermost first.

    A matrix is as orthogonal whatever the order of its columns: in this one, filters need not be copied.
    """
    return 0, *sorted(range(1, weight.ndim), key=weight.stride, reverse=True)


def _gradients(parameters: list[Tensor]) -> list[Tensor]:
    return [each.grad for each in parameters if each.grad is not None]
