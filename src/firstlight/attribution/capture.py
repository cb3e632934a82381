"""Record activations and gradients of a network's stages with hooks, and leave the network unchanged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from firstlight.compiled import plain_name, running_eagerly, uncompiled
from firstlight.errors import UsageError
from firstlight.modes import in_evaluation

Stage = str | nn.Module  # a name from network.stages, the path of a submodule, or a submodule


class Capture:
    """The outputs of the stages in the latest forward pass, and gradients with respect to them; see `capture`."""

    def __init__(self) -> None:
        self._outputs: dict[str, Tensor] = {}

    def activations_of(self, stage: str) -> Tensor:
        """Return the output of a stage, detached from the graph.

        Raises:
            UsageError: The network has the stage, but does not run it.
        """
        if stage not in self._outputs:
            raise UsageError(f"the network does not run its stage {stage} when it classifies an image")
        return self._outputs[stage].detach()

    @property
    def activations(self) -> dict[str, Tensor]:
        """Output of each stage, detached from the graph; of a module that ran twice, the last output."""
        return {name: output.detach() for name, output in self._outputs.items()}

    def gradients(self, score: Float[Tensor, " n"], *, retain_graph: bool = False) -> dict[str, Tensor]:
        """Return the gradient of each image's score with respect to each stage's output.

        One backward pass from the sum of the scores serves all images: in eval mode no image's score depends on
        another image.

        Args:
            score: One number for each image, computed from the network's output, float [n].
            retain_graph: Keep the graph, so that another score of the same forward pass can be differentiated.

        Returns:
            A tensor for each stage, shaped like its activations.

        Raises:
            UsageError: The score does not depend on one of the stages.
        """
        try:
            gradients = torch.autograd.grad(score.sum(), list(self._outputs.values()), retain_graph=retain_graph)
        except RuntimeError as error:
            if "graph" not in str(error) and "does not require grad" not in str(error):
                raise
            raise UsageError(f"the score does not depend on all of: {', '.join(self._outputs)}") from error
        return dict(zip(self._outputs, gradients, strict=True))

    def _record(self, name: str, _module: nn.Module, _inputs: Any, output: Any) -> Tensor:
        if not isinstance(output, Tensor):
            raise UsageError(f"stage {name} returns a {type(output).__name__}: choose a stage that returns a tensor")
        # The graph starts at the first stage: autograd records nothing before it. The clones protect the recorded
        # tensor from in-place operations that follow, and turn inference tensors into ones that autograd accepts.
        recorded = output if output.requires_grad else output.clone().detach()
        if torch.is_grad_enabled() and not recorded.requires_grad:
            recorded.requires_grad_()
        self._outputs[name] = recorded
        return recorded.clone()


@contextmanager
def capture(network: nn.Module, stages: Sequence[Stage], *, with_gradients: bool = True) -> Iterator[Capture]:
    """Record the outputs of some stages, and gradients with respect to them, inside a `with` block.

    Call the network inside the block as usual; it is in eval mode there. Gradients are computed with
    `torch.autograd.grad`, so no parameter's `.grad` changes. The block works inside `torch.no_grad`,
    `torch.inference_mode` and `torch.autocast`. When it ends, also by an error, the hooks are removed, and the
    training mode of every module and `requires_grad` of every parameter are restored.

    Args:
        network: Any module.
        stages: Names from `network.stages`, paths of submodules, or submodules.
        with_gradients: False records activations only and builds no graph.

    Yields:
        A Capture. It is empty before the network runs and after the block.

    Raises:
        UsageError: The network has no such stage, or a stage's output is not a tensor.

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
        stack.enter_context(frozen_in_evaluation(network))
        stack.enter_context(running_eagerly(network))
        for name, module in modules.items():
            stack.callback(module.register_forward_hook(partial(captured._record, name)).remove)
        stack.callback(captured._outputs.clear)
        yield captured


@contextmanager
def frozen_in_evaluation(network: nn.Module) -> Iterator[None]:
    """Put a network in eval mode with `requires_grad=False` for all parameters; restore both when the block ends."""
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
    """Return the submodules that the stages name.

    Args:
        network: Any module.
        stages: Names from `network.stages`, paths of submodules, or submodules.

    Returns:
        The submodules by their paths inside the network.

    Raises:
        UsageError: The network has no such stage.

    >>> list(find_stages(nn.Sequential(nn.ReLU()), ["0"]))
    ['0']
    """
    modules = {plain_name(name): module for name, module in uncompiled(network).named_modules()}
    names = {id(module): name for name, module in reversed(modules.items())}
    modules_by_path = {}
    for stage in stages:
        if not isinstance(stage, str | nn.Module):
            raise UsageError(f"a stage is a name or a module of the network, not {stage!r}: {listed_stages(network)}")
        name = stage if isinstance(stage, str) else names.get(id(uncompiled(stage)))
        if name not in modules or not name:
            missing = stage if isinstance(stage, str) else f"that is the given {type(stage).__name__}"
            raise UsageError(f"the network has no stage {missing}: try {listed_stages(network)}")
        modules_by_path[name] = modules[name]
    return modules_by_path


def stage_names(network: nn.Module) -> tuple[str, ...]:
    """Return `network.stages` in the order of the forward pass, or an empty tuple if the network has none."""
    return tuple(getattr(network, "stages", ()))


def listed_stages(network: nn.Module, max_names: int = 12) -> str:
    """Return stage names for an error message: `network.stages`, or else the paths of the network's submodules.

    >>> listed_stages(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()))
    '0, 1'
    """
    names = stage_names(network) or [name for name, _ in network.named_modules() if name]
    return ", ".join(names[:max_names]) + (", ..." if len(names) > max_names else "")


def first_parameter(network: nn.Module) -> Tensor:
    """Return the first parameter, whose device and dtype images must have; an empty tensor if there is none."""
    return next(network.parameters(), torch.empty(0))
