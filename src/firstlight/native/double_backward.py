"""Second derivatives of layers that have a native kernel."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def differentiable_gradients(
    function: Callable[..., Tensor], inputs: Sequence[Tensor], needs: Sequence[bool], grad_output: Tensor
) -> list[Tensor | None]:
    """Compute the gradients of a function's inputs so that they can be differentiated again.

    Native kernels have no second derivative. With `create_graph=True`, the backward pass of a layer therefore repeats
    its forward pass with PyTorch's own operations, and differentiates these.

    Args:
        function: The layer's function, made of PyTorch's own operations.
        inputs: All inputs of the function.
        needs: Whether to compute the gradient of each input.
        grad_output: Gradient of the output.

    Returns:
        The gradient of each input; None if it is not needed, or if the output does not depend on the input.

    >>> x = torch.tensor(3.0, requires_grad=True)
    >>> (gradient,) = differentiable_gradients(lambda x: x**3, [x], [True], torch.tensor(1.0))
    >>> torch.autograd.grad(gradient, x)  # 6 x
    (tensor(18.),)
    """
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        output = function(*inputs)
        sources = [each for each, is_needed in zip(inputs, needs, strict=True) if is_needed]
        found = torch.autograd.grad(output, sources, grad_output, create_graph=create_graph, allow_unused=True)
    gradients = iter(found)
    return [next(gradients) if is_needed else None for is_needed in needs]
