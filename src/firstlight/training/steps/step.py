"""One training step: the interface of all steps, and the step that uses autograd."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from firstlight.arrays import Targets, UnitImages
from firstlight.backprop.selective import training_logits
from firstlight.recipes.config import Recipe
from firstlight.training.steps.importance import largest_gradients
from firstlight.training.steps.losses import Losses


class TrainingStep(ABC):
    """Computes the losses of a training batch, then its gradients.

    Lightning calls the three methods in this order for every batch.
    """

    @abstractmethod
    def __call__(self, images: UnitImages, labels: Targets, progress: float) -> tuple[Losses, Tensor]:
        """Compute the losses of a batch, and the scalar loss whose gradient updates the weights.

        Args:
            images: RGB in [0, 1], float [n 3 h w].
            labels: Classes, int64 [n], or targets of mixed images, float [n k].
            progress: Share of the training that is done, 0 to 1.
        """

    @abstractmethod
    def zero_grad(self, optimizer: torch.optim.Optimizer) -> None:
        """Discard the gradients of the last step, unless `__call__` has already overwritten them."""

    @abstractmethod
    def backward(self, run_autograd: Callable[[], None]) -> None:
        """Compute the gradients by `run_autograd`, unless `__call__` has already computed them."""


class AutogradStep(TrainingStep):
    """A step whose gradients come from autograd.

    Args:
        network: Network to train.
        recipe: Recipe that sets the label smoothing and the share of the gradient norm to compute.
        class_weights: Weight of the images of each class, float [k]; None weights all images by 1.
    """

    def __init__(self, network: nn.Module, recipe: Recipe, class_weights: Tensor | None = None) -> None:
        self._class_weights = class_weights
        self._network = network
        self._recipe = recipe

    def __call__(self, images: UnitImages, labels: Targets, progress: float) -> tuple[Losses, Tensor]:
        """Run the forward pass; `progress` is ignored."""
        share, label_smoothing = self._recipe.gradient_share, self._recipe.label_smoothing
        logits = training_logits(self._network, images, skip_zero_gradients=share < 1).float()
        losses = Losses.of(logits, labels, label_smoothing, self._class_weights)
        if share == 1:
            return losses, losses.mean
        chosen = largest_gradients(logits.detach(), labels, share, label_smoothing, self._class_weights)
        return losses, (losses.smoothed * chosen).mean()

    def zero_grad(self, optimizer: torch.optim.Optimizer) -> None:
        """Discard the gradients of the last step."""
        optimizer.zero_grad(set_to_none=True)

    def backward(self, run_autograd: Callable[[], None]) -> None:
        """Compute the gradients."""
        run_autograd()
