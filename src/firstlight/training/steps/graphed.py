"""Training steps captured as CUDA graphs: one launch a step instead of hundreds."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple, TypeGuard

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from firstlight.arrays import UnitImages
from firstlight.augment.progressive import progress_at
from firstlight.data.batches import Batches
from firstlight.errors import UsageError
from firstlight.networks import StagedNetwork
from firstlight.optim import Muon
from firstlight.recipes.config import Recipe
from firstlight.runs.options import Steps
from firstlight.training.lr_schedules import lr_schedules, num_epochs
from firstlight.training.steps.cuda_graph import capture
from firstlight.training.steps.gradients import step_gradients, supports_step_gradients
from firstlight.training.steps.importance import max_image_share
from firstlight.training.steps.losses import Losses
from firstlight.training.steps.step import AutogradStep, TrainingStep

Capture = Callable[..., Callable[..., Any]]  # has the signature of `cuda_graph.capture`
AUTOCAST_DTYPES = {"32-true": None, "bf16-mixed": torch.bfloat16}  # by Lightning's name of the precision


class StepShape(NamedTuple):
    """The properties of a training step that select its CUDA graph.

    Args:
        images: Shape of the images, (n, 3, h, w).
        labels: Shape of the labels: (n,), or (n, k) for the targets of mixed images.
        requires_grad: For each parameter, whether it is trained in this step.
        max_images: Largest number of images in the backward pass.
    """

    images: tuple[int, ...]
    labels: tuple[int, ...]
    requires_grad: tuple[bool, ...]
    max_images: int


class StepGraphs:
    """The captured steps of a training, one for each `StepShape`, and the captured update of Muon.

    Args:
        network: Network on the device where it is trained.
        recipe: Recipe of the training.
        optimizer: Optimizer of the network.
        dtype: Type in which autocast computes; None turns autocast off.
        is_compiled: Whether `torch.compile` compiles the step first. Steps are faster then, but the first one
            takes a minute.
        capture: Function that captures a step; see `cuda_graph.capture`.
        class_weights: Weight of the images of each class on the device, float [k]; None weights all images by 1.
    """

    def __init__(
        self,
        network: StagedNetwork,
        recipe: Recipe,
        optimizer: torch.optim.Optimizer,
        dtype: torch.dtype | None,
        *,
        is_compiled: bool = False,
        capture: Capture = capture,
        class_weights: Tensor | None = None,
    ) -> None:
        self._class_weights = class_weights
        self._network = network
        self._recipe = recipe
        self._optimizer = optimizer
        self._dtype = dtype
        self._step_gradients = _compiled_step_gradients() if is_compiled else step_gradients
        self._capture, self._is_compiled = capture, is_compiled
        self._parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self._graphs: dict[StepShape, Callable[..., Losses]] = {}

    def prepare(self, shapes: list[StepShape], device: torch.device) -> None:
        """Capture a step of each shape, and the update. Weights and running statistics keep their values.

        Args:
            shapes: Shapes of all steps to come; repeated ones are captured once.
            device: Device of the network and the batches.
        """
        for parameter in self._parameters:
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        before = [parameter.requires_grad for parameter in self._parameters]
        for shape in dict.fromkeys(shapes):
            _set_requires_grad(self._parameters, shape.requires_grad)
            images = torch.zeros(shape.images, device=device).contiguous(memory_format=torch.channels_last)
            label_type = torch.int64 if len(shape.labels) == 1 else torch.float32
            labels = torch.zeros(shape.labels, dtype=label_type, device=device)
            gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
            step = partial(self._step, shape.max_images)
            self._graphs[shape] = self._capture(step, [images, labels], [*self._network.buffers(), *gradients])
        _set_requires_grad(self._parameters, before)
        if isinstance(self._optimizer, Muon):
            self._optimizer.capture_update(self._capture, is_compiled=self._is_compiled)

    def __call__(self, images: UnitImages, labels: Tensor, progress: float) -> Losses | None:
        """Compute the gradients of a batch into `parameter.grad`, and return its losses.

        Args:
            images: RGB in [0, 1], float [n 3 h w].
            labels: Classes, int64 [n], or targets of mixed images, float [n k].
            progress: Share of the training that is done, 0 to 1.

        Returns:
            The losses; None, with unchanged gradients, if no step of this shape was captured.
        """
        requires_grad = tuple(parameter.requires_grad for parameter in self._parameters)
        max_images = _max_images(self._recipe, len(images), progress)
        shape = StepShape(tuple(images.shape), tuple(labels.shape), requires_grad, max_images)
        graph = self._graphs.get(shape)
        return None if graph is None else graph(images, labels)

    def _step(self, max_images: int, images: UnitImages, labels: Tensor) -> Losses:
        with torch.autocast(images.device.type, self._dtype, enabled=self._dtype is not None, cache_enabled=False):
            losses, computed = self._step_gradients(
                self._network,
                images,
                labels,
                self._recipe.label_smoothing,
                self._recipe.gradient_share,
                max_images,
                self._class_weights,
            )
        gradients = [p.grad for p in self._parameters if p.requires_grad and p.grad is not None]
        torch._foreach_copy_(gradients, computed)
        return losses


class GraphedStep(TrainingStep):
    """A step that replays a captured graph where there is one for the batch, and uses autograd otherwise.

    Args:
        graphs: Captured steps.
        fallback: Step for batches of other shapes, for instance the last of an epoch.
    """

    def __init__(self, graphs: StepGraphs, fallback: AutogradStep) -> None:
        self._graphs = graphs
        self._fallback = fallback
        self._is_replayed = False

    def __call__(self, images: UnitImages, labels: Tensor, progress: float) -> tuple[Losses, Tensor]:
        """Replay the step, which also computes the gradients, or run the forward pass of the fallback."""
        losses = self._graphs(images, labels, progress)
        self._is_replayed = losses is not None
        return self._fallback(images, labels, progress) if losses is None else (losses, losses.mean)

    def zero_grad(self, optimizer: torch.optim.Optimizer) -> None:
        """Set the gradients to zero for the fallback, in place, because the graphs hold their addresses."""
        if not self._is_replayed:
            optimizer.zero_grad(set_to_none=False)

    def backward(self, run_autograd: Callable[[], None]) -> None:
        """Compute the gradients for the fallback; a replayed step has already computed them."""
        if not self._is_replayed:
            self._fallback.backward(run_autograd)


def capture_steps(
    trainer: pl.Trainer,
    network: nn.Module,
    recipe: Recipe,
    steps: Steps,
    class_weights: Tensor | None = None,
    capture: Capture = capture,
) -> StepGraphs | None:
    """Capture all steps of a training that is about to begin.

    Steps can be captured on one GPU, in bfloat16 or float32, for firstlight's own batches, for a network whose
    layers all have backward rules, and for a training with a known end; not with accumulated or clipped gradients,
    nor with anomaly detection.

    Args:
        trainer: Trainer whose optimizers and batches are ready.
        network: Network to train.
        recipe: Recipe of the training.
        steps: "plain" captures nothing, "recorded" captures the steps, "compiled" also compiles them first.
        capture: Function that captures a step; see `cuda_graph.capture`.
        class_weights: Weight of the images of each class on the device, float [k]; None weights all images by 1.

    Returns:
        None if the steps cannot be captured.

    Raises:
        UsageError: The GPU has too little memory, or the steps cannot be compiled.
    """
    if steps == "plain" or not _can_capture(network, trainer):
        return None
    (optimizer,) = trainer.optimizers
    dtype, num_steps = AUTOCAST_DTYPES[str(trainer.precision)], int(trainer.estimated_stepping_batches)
    remaining = range(trainer.global_step, num_steps)
    batches: Any = trainer.train_dataloader
    shapes = step_shapes(network, recipe, optimizer, batches, remaining, num_epochs(trainer.max_epochs, recipe))
    graphs = StepGraphs(
        network,
        recipe,
        optimizer,
        dtype,
        is_compiled=steps == "compiled",
        capture=capture,
        class_weights=class_weights,
    )
    try:
        graphs.prepare(shapes, trainer.strategy.root_device)
    except torch.OutOfMemoryError as error:
        raise UsageError(
            "the GPU has too little memory to capture the training steps as CUDA graphs: use a smaller --batch_size, "
            "or --steps plain"
        ) from error
    except RuntimeError as error:
        if steps != "compiled":
            raise
        reason, *_ = str(error).strip().splitlines() or [type(error).__name__]
        raise UsageError(f"the steps cannot be compiled here ({reason}): choose --steps recorded") from error
    return graphs


def _can_capture(network: nn.Module, trainer: pl.Trainer) -> TypeGuard[StagedNetwork]:
    has_plain_loop = trainer.accumulate_grad_batches == 1 and trainer.gradient_clip_val is None
    has_end = not math.isinf(trainer.estimated_stepping_batches)
    if not has_plain_loop or not has_end or torch.is_anomaly_enabled():
        return False
    if str(trainer.precision) not in AUTOCAST_DTYPES or not isinstance(trainer.train_dataloader, Batches):
        return False
    return supports_step_gradients(network)


def step_shapes(
    network: nn.Module,
    recipe: Recipe,
    optimizer: torch.optim.Optimizer,
    batches: Batches,
    steps: range,
    epochs: int | None = None,
) -> list[StepShape]:
    """Return the shape of each step of a training, in order.

    Args:
        network: Network before the first step.
        recipe: Recipe of the training.
        optimizer: Optimizer of the network.
        batches: Training batches.
        steps: Steps that are left; `steps.stop` is the length of the whole training.
        epochs: Epochs of the whole training; those of the recipe by default.
    """
    schedules = lr_schedules(recipe.optimizer, optimizer, steps.stop, epochs or recipe.max_epochs)
    if schedules is None or not isinstance(optimizer, Muon):  # every parameter is trained throughout
        schedules = [lambda _: 1.0] * len(optimizer.param_groups)
    groups = zip(schedules, optimizer.param_groups, strict=True)
    schedule_of = {parameter: schedule for schedule, group in groups for parameter in group["params"]}
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    num_images, is_mixing = batches.sampler.batch_size, bool(batches.augmentation and batches.augmentation.is_mixing)
    labels = (num_images, len(batches.set.class_names)) if is_mixing else (num_images,)
    shapes = []
    for step in steps:
        progress = progress_at(step, steps.stop)
        sides_px = (recipe.resizing.side_px(side_px, progress) for side_px in batches.set.size_px)
        requires_grad = tuple(schedule_of[parameter](step) > 0 for parameter in parameters)
        max_images = _max_images(recipe, num_images, progress)
        shapes.append(StepShape((num_images, 3, *sides_px), labels, requires_grad, max_images))
    return shapes


def _max_images(recipe: Recipe, num_images: int, progress: float) -> int:
    return max(1, round(max_image_share(recipe.gradient_share, progress) * num_images))


def _set_requires_grad(parameters: list[nn.Parameter], flags: Any) -> None:
    for parameter, flag in zip(parameters, flags, strict=True):
        parameter.requires_grad_(flag)


@cache
def _compiled_step_gradients() -> Callable[..., tuple[Losses, list[Tensor]]]:
    return torch.compile(step_gradients, fullgraph=True, dynamic=False)
