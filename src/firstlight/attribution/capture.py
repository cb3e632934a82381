"""Borrow activations and gradients from a network, and give everything back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from firstlight.errors import UsageError
from firstlight.modes import in_evaluation

Stage = str | nn.Module  # one of network.stages, the path of any module inside, or the module itself


class Capture:
    """What the stages gave out in the latest forward pass; see `capture`."""

    def __init__(self) -> None:
        self._held: dict[str, Tensor] = {}

    @property
    def activations(self) -> dict[str, Tensor]:
        """By stage, what it gave out, cut from the graph; a module that ran twice shows its last output."""
        return {name: held.detach() for name, held in self._held.items()}

    def gradients(self, score: Float[Tensor, " n"], *, keep_graph: bool = False) -> dict[str, Tensor]:
        """Differentiate the score of each image by what each stage gave out.

        Args:
            score: one number for each image, computed from the network's output, float [n].
            keep_graph: whether to differentiate another score of the same forward pass later.

        Returns:
            By stage, a tensor shaped as its activations. No image's score depends on another image, as
            the network is in eval mode, so one backward pass from the sum gives every image its own gradient.

        Raises:
            UsageError: the score does not depend on a stage.
        """
        try:
            found = torch.autograd.grad(score.sum(), list(self._held.values()), retain_graph=keep_graph)
        except RuntimeError as error:
            if "graph" not in str(error) and "does not require grad" not in str(error):
                raise
            raise UsageError(f"the score does not depend on all of: {', '.join(self._held)}") from error
        return dict(zip(self._held, found, strict=True))

    def _hold(self, name: str, _module: nn.Module, _inputs: Any, output: Any) -> Tensor:
        if not isinstance(output, Tensor):
            raise UsageError(f"stage {name} gives out a {type(output).__name__}: choose one that gives out a tensor")
        # The first stage starts the graph: nothing before it is recorded. Clones, as the network may go
        # on to work in place, and as an inference tensor cannot enter a graph.
        held = output if output.requires_grad else output.clone().detach()
        if torch.is_grad_enabled() and not held.requires_grad:
            held.requires_grad_()
        self._held[name] = held
        return held.clone()


@contextmanager
def capture(network: nn.Module, stages: Sequence[Stage], *, with_gradients: bool = True) -> Iterator[Capture]:
    """Borrow what the stages give out, and gradients by it, for the length of the block.

    Inside, call the network as usual; it is in eval mode. Gradients are taken by `torch.autograd.grad`,
    so no parameter's `.grad` is touched. It works inside `torch.no_grad`, `torch.inference_mode` and
    `torch.autocast`. On the way out, an error included, hooks are removed and every module's mode and
    every parameter's `requires_grad` are as they were.

    Args:
        network: any module.
        stages: names from `network.stages`, paths of modules inside, or modules.
        with_gradients: False if only activations are wanted: no graph is built.

    Yields:
        A Capture, empty until the network runs, and empty again after the block.

    Raises:
        UsageError: the network has no such stage.

    >>> network = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Flatten())
    >>> _ = nn.init.constant_(network[0].weight, 3.0)
    >>> with capture(network, ["0"]) as captured:
    ...     logits = network(torch.tensor([[2.0]]))
    ...     captured.activations["0"].tolist(), captured.gradients(logits[:, 0] ** 2)["0"].tolist()
    ([[6.0]], [[12.0]])
    """
    modules = find_stages(network, stages)
    captured = Capture()
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.set_grad_enabled(with_gradients))
        stack.enter_context(borrowed(network))
        for name, module in modules.items():
            stack.callback(module.register_forward_hook(partial(captured._hold, name)).remove)
        stack.callback(captured._held.clear)
        yield captured


@contextmanager
def borrowed(network: nn.Module) -> Iterator[None]:
    """Run the network in eval mode and without parameter gradients; afterwards both are as they were."""
    flags = [(parameter, parameter.requires_grad) for parameter in network.parameters()]
    try:
        for parameter, _ in flags:
            parameter.requires_grad_(False)
        with in_evaluation(network):
            yield
    finally:
        for parameter, flag in flags:
            parameter.requires_grad_(flag)


def find_stages(network: nn.Module, stages: Sequence[Stage]) -> dict[str, nn.Module]:
    """Look up stages by name, path or identity.

    Returns:
        By name (the path inside the network), the module whose output is meant.

    Raises:
        UsageError: the network has no such stage.

    >>> list(find_stages(nn.Sequential(nn.ReLU()), ["0"]))
    ['0']
    """
    modules = dict(network.named_modules())
    names = {id(module): name for name, module in reversed(modules.items())}
    found = {}
    for stage in stages:
        name = stage if isinstance(stage, str) else names.get(id(stage))
        if name not in modules or not name:
            known = ", ".join(stage_names(network)) or "the path of any module inside it"
            raise UsageError(
                f"the network has no stage {stage if isinstance(stage, str) else 'like this'}: try {known}"
            )
        found[name] = modules[name]
    return found


def stage_names(network: nn.Module) -> tuple[str, ...]:
    """Return the names in `network.stages`, first to last; none if the network names no stages."""
    return tuple(getattr(network, "stages", ()))


def first_parameter(network: nn.Module) -> Tensor:
    """Return a tensor on the network's device and in its number format: what images have to match."""
    return next(network.parameters(), torch.empty(0))
