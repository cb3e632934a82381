"""Capture a function as a CUDA graph, which launches all of its kernels at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor

NUM_WARMUP_CALLS = 3  # libraries choose their kernels and allocate their memory in these

_Result = TypeVar("_Result")


def capture(
    function: Callable[..., _Result], inputs: Sequence[Tensor], changed: Iterable[Tensor] = ()
) -> Callable[..., _Result]:
    """Capture a function as a CUDA graph.

    The returned function computes the same on the same device, with one launch. It always returns the same tensors,
    which its next call overwrites. Its inputs must have the shapes of `inputs`. Every other tensor that the function
    reads or changes must keep its memory: change it in place, never replace it. (PyTorch's manual, "CUDA Graphs".)

    Args:
        function: Function of tensors that does not synchronize with the device, and whose kernels do not depend on
            values there.
        inputs: Tensors for the trial calls; their values do not matter.
        changed: Other tensors that the function changes; the capture restores their values.
    """
    static_inputs = [tensor.clone() for tensor in inputs]
    changed = list(changed)
    saved = [tensor.detach().clone() for tensor in changed]
    side_stream = torch.cuda.Stream()
    side_stream.wait_stream(torch.cuda.current_stream())
    with _fastest_convolutions():
        with torch.cuda.stream(side_stream):
            for _ in range(NUM_WARMUP_CALLS):
                function(*static_inputs)
        torch.cuda.current_stream().wait_stream(side_stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # other threads may use the device meanwhile
            result = function(*static_inputs)
    graph.replay()  # the first replay uploads the graph
    with torch.no_grad():
        for tensor, value in zip(changed, saved, strict=True):
            tensor.copy_(value)

    def replay(*given: Tensor) -> _Result:
        for tensor, value in zip(static_inputs, given, strict=True):
            tensor.copy_(value)
        graph.replay()
        return result

    return replay


@contextmanager
def _fastest_convolutions() -> Iterator[None]:
    """Let cuDNN benchmark its convolution algorithms and choose the fastest for each shape."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
