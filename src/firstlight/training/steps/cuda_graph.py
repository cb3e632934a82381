"""Work recorded as a CUDA graph: launched whole by one call, instead of kernel by kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor

NUM_WARMUP_CALLS = 3  # in which libraries choose their kernels and take their memory

_Result = TypeVar("_Result")


def record(
    function: Callable[..., _Result], inputs: Sequence[Tensor], changed: Iterable[Tensor] = ()
) -> Callable[..., _Result]:
    """Return a function that does the same on the same device, but is launched at once.

    What it returns are the same tensors every time, overwritten by the next call. Inputs must be shaped as those given
    here. Whatever else the function reads, and all that it changes, are the very tensors that they were when it was
    recorded. (PyTorch's manual, "CUDA Graphs".)

    Args:
        function: of tensors, that neither waits for the device nor depends on numbers there in what it launches.
        inputs: by which it is tried; what they hold does not matter.
        changed: what else it changes: is as before when this returns.
    """
    mine = [each.clone() for each in inputs]
    changed = list(changed)
    before = [each.detach().clone() for each in changed]
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with _fastest_convolutions():
        with torch.cuda.stream(aside):
            for _ in range(NUM_WARMUP_CALLS):
                function(*mine)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # other threads may use the device meanwhile
            result = function(*mine)
    graph.replay()  # the first time brings it to the device
    with torch.no_grad():
        for each, as_it_was in zip(changed, before, strict=True):
            each.copy_(as_it_was)

    def replay(*given: Tensor) -> _Result:
        for each, value in zip(mine, given, strict=True):
            each.copy_(value)
        graph.replay()
        return result

    return replay


@contextmanager
def _fastest_convolutions() -> Iterator[None]:
    """Let cuDNN try its convolutions, and take the fastest for each shape."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
