"""The losses of mixed images against the mixture of the losses of both labels."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from firstlight.augment.mixing import soft_targets
from firstlight.networks import ResNet9Config
from firstlight.recipes.config import Recipe
from firstlight.training.initialization import seeded_network
from firstlight.training.steps.gradients import step_gradients
from firstlight.training.steps.importance import gradients_at_logits
from firstlight.training.steps.losses import Losses
from firstlight.training.steps.step import AutogradStep

LABELS, OTHERS = torch.arange(8) % 3, torch.arange(8) // 3
SHARES = torch.tensor([1.0, 0.0, 0.9, 0.8, 0.7, 0.6, 0.55, 0.3])
WEIGHTS = torch.tensor([0.5, 1.0, 2.0])


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["even", "weighted"])
def test_the_loss_of_a_mixture_is_the_mixture_of_the_losses(
    label_smoothing: float, weights: torch.Tensor | None
) -> None:
    """Section 2 of the paper on mixup: the loss is linear in the targets."""
    logits = torch.randn(8, 3, requires_grad=True)
    losses = Losses.of(logits, soft_targets(LABELS, OTHERS, SHARES, 3), label_smoothing, weights)
    own, other = (Losses.of(logits, each, label_smoothing, weights) for each in (LABELS, OTHERS))
    torch.testing.assert_close(losses.smoothed, SHARES * own.smoothed + (1 - SHARES) * other.smoothed)
    torch.testing.assert_close(losses.plain, SHARES * own.plain + (1 - SHARES) * other.plain)
    torch.testing.assert_close(losses.mean, losses.smoothed.mean())
    (expected,) = torch.autograd.grad(losses.smoothed.sum(), logits)
    targets = soft_targets(LABELS, OTHERS, SHARES, 3)
    torch.testing.assert_close(gradients_at_logits(logits.detach(), targets, label_smoothing, weights), expected)


def test_targets_of_one_class_have_the_loss_of_its_label() -> None:
    logits = torch.randn(8, 3)
    one_hot = F.one_hot(LABELS, 3).float()
    for ours, theirs in zip(Losses.of(logits, one_hot, 0.1), Losses.of(logits, LABELS, 0.1), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_mixture_is_right_if_the_larger_share_is_predicted() -> None:
    targets = torch.tensor([[0.7, 0.3], [0.4, 0.6]])
    assert float(Losses.of(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), targets, 0.0).accuracy) == 0.5


def test_both_kinds_of_step_have_the_same_gradients() -> None:
    recipe = Recipe(network=ResNet9Config(width=2), label_smoothing=0.1)
    network = seeded_network(3, recipe).train()
    images, targets = torch.rand(8, 3, 16, 16), soft_targets(LABELS, OTHERS, SHARES, 3)
    losses, loss = AutogradStep(network, recipe, WEIGHTS)(images, targets, 0.0)
    expected = torch.autograd.grad(loss, [each for each in network.parameters() if each.requires_grad])
    computed, found = step_gradients(network, images, targets, 0.1, 1.0, None, WEIGHTS)
    torch.testing.assert_close(computed.mean, losses.mean)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-3)
