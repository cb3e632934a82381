"""The steps of a training on a GPU, recorded: what costs the processor a launch for every kernel costs it one."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from firstlight.arrays import UnitImages
from firstlight.augment.progressive import progress_at
from firstlight.data.batches import Batches
from firstlight.networks import StagedNetwork
from firstlight.optim import Muon
from firstlight.recipes.config import Recipe
from firstlight.training.optimization import courses
from firstlight.training.steps.cuda_graph import record
from firstlight.training.steps.gradients import Losses, knows_step, step_gradients
from firstlight.training.steps.importance import most_images

Recorder = Callable[..., Callable[..., Any]]  # as `record`
PRECISIONS = {"32-true": None, "bf16-mixed": torch.bfloat16}  # and in what autocast computes


class Kind(NamedTuple):
    """What tells the steps of a training apart.

    Args:
        shape: of the images.
        learns: whether each parameter does.
        num_kept: how many images go back at most.
    """

    shape: tuple[int, ...]
    learns: tuple[bool, ...]
    num_kept: int


class RecordedSteps:
    """The gradients of all whole batches of a training, and the updates by Muon, ready to be replayed.

    Args:
        network: on the device where it trains.
        recipe: of the training.
        optimizer: of the network.
        dtype: in which autocast computes; None computes as the weights are.
        is_compiled: whether kernels are made for the steps first (`torch.compile`): steps are faster, but the first
            takes a minute.
        recorder: see `record`.
    """

    def __init__(
        self,
        network: StagedNetwork,
        recipe: Recipe,
        optimizer: torch.optim.Optimizer,
        dtype: torch.dtype | None,
        *,
        is_compiled: bool = False,
        recorder: Recorder = record,
    ) -> None:
        self._network = network
        self._recipe = recipe
        self._optimizer = optimizer
        self._dtype = dtype
        self._gradients = _compiled_gradients() if is_compiled else step_gradients
        self._recorder, self._is_compiled = recorder, is_compiled
        self._parameters = [each for each in network.parameters() if each.requires_grad]
        self._replays: dict[Kind, Callable[..., Losses]] = {}

    def prepare(self, kinds: list[Kind], device: torch.device) -> None:
        """Record a step of each kind, and the update; weights and statistics stay as they are.

        Args:
            kinds: that the training will come by.
            device: where the network and the batches are.
        """
        for each in self._parameters:
            each.grad = torch.zeros_like(each) if each.grad is None else each.grad
        learnt = [each.requires_grad for each in self._parameters]
        for kind in dict.fromkeys(kinds):
            _let_learn(self._parameters, kind.learns)
            images = torch.zeros(kind.shape, device=device).contiguous(memory_format=torch.channels_last)
            labels = torch.zeros(len(images), dtype=torch.int64, device=device)
            changed = [*self._network.buffers(), *(each.grad for each in self._parameters if each.grad is not None)]
            step = partial(self._step, kind.num_kept)
            self._replays[kind] = self._recorder(step, [images, labels], changed)
        _let_learn(self._parameters, learnt)
        if isinstance(self._optimizer, Muon):
            self._optimizer.record(self._recorder, is_compiled=self._is_compiled)

    def __call__(self, images: UnitImages, labels: Tensor, progress: float) -> Losses | None:
        """Leave the gradients of a batch in the parameters, and return its losses; None if it was not prepared.

        Args:
            images: in [0, 1], float [n 3 h w].
            labels: int64 [n].
            progress: share of the training that is behind.
        """
        learns = tuple(each.requires_grad for each in self._parameters)
        replay = self._replays.get(Kind(tuple(images.shape), learns, _num_kept(self._recipe, len(images), progress)))
        return None if replay is None else replay(images, labels)

    def _step(self, num_kept: int, images: UnitImages, labels: Tensor) -> Losses:
        device, smoothing = images.device.type, self._recipe.label_smoothing
        with torch.autocast(device, self._dtype, enabled=self._dtype is not None, cache_enabled=False):
            how = smoothing, self._recipe.gradient_share, num_kept
            losses, found = self._gradients(self._network, images, labels, *how)
        places = [each.grad for each in self._parameters if each.requires_grad and each.grad is not None]
        torch._foreach_copy_(places, found)
        return losses


def recorded_steps(trainer: pl.Trainer, network: StagedNetwork, recipe: Recipe, **options: Any) -> RecordedSteps | None:
    """Return the steps of a training that is about to begin, recorded; None where they cannot be.

    They can on one GPU, in bfloat16 or float32, from firstlight's batches, for a network whose layers all have
    pullbacks, in a training that has an end; where a batch counts for one step, and Lightning neither clips gradients
    nor looks for anomalies.

    Args:
        trainer: whose optimizers and batches are ready.
        network: what it trains.
        recipe: likewise.
        **options: of `RecordedSteps`.
    """
    batches, precision = trainer.train_dataloader, str(trainer.precision)
    is_usual = trainer.accumulate_grad_batches == 1 and trainer.gradient_clip_val is None
    is_usual = is_usual and not math.isinf(trainer.estimated_stepping_batches) and not torch.is_anomaly_enabled()
    if not (is_usual and precision in PRECISIONS and isinstance(batches, Batches) and knows_step(network)):
        return None
    (optimizer,) = trainer.optimizers
    steps = RecordedSteps(network, recipe, optimizer, PRECISIONS[precision], **options)
    left = range(trainer.global_step, int(trainer.estimated_stepping_batches))
    steps.prepare(steps_of(network, recipe, optimizer, batches, left), trainer.strategy.root_device)
    return steps


def steps_of(
    network: nn.Module, recipe: Recipe, optimizer: torch.optim.Optimizer, batches: Batches, steps: range
) -> list[Kind]:
    """Return the kinds of the steps of a training, in their order.

    Args:
        network: before the first step.
        recipe: of the training.
        optimizer: of the network.
        batches: likewise.
        steps: those that are left, up to the last of the training.
    """
    rates = courses(recipe.optimizer, optimizer, steps.stop, recipe.max_epochs)
    if rates is None or not isinstance(optimizer, Muon):  # all learn throughout
        rates = [lambda _: 1.0] * len(optimizer.param_groups)
    rate_of = {
        each: rate for rate, group in zip(rates, optimizer.param_groups, strict=True) for each in group["params"]
    }
    parameters = [each for each in network.parameters() if each.requires_grad]
    num_images = batches.sampler.batch_size
    kinds = []
    for step in steps:
        progress = progress_at(step, steps.stop)
        sides = (recipe.resizing.side_px(side, progress) for side in batches.set.size_px)
        learns = tuple(rate_of[each](step) > 0 for each in parameters)
        kinds.append(Kind((num_images, 3, *sides), learns, _num_kept(recipe, num_images, progress)))
    return kinds


def _num_kept(recipe: Recipe, num_images: int, progress: float) -> int:
    return max(1, round(most_images(recipe.gradient_share, progress) * num_images))


def _let_learn(parameters: list[nn.Parameter], learns: Any) -> None:
    for each, does in zip(parameters, learns, strict=True):
        each.requires_grad_(does)


@cache
def _compiled_gradients() -> Callable[..., tuple[Losses, list[Tensor]]]:
    return torch.compile(step_gradients, fullgraph=True, dynamic=False)
