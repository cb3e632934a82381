"""The images of a step's gradient, against a selection by hand from autograd's gradients."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from firstlight.training.steps.importance import largest_gradients


@pytest.mark.parametrize("share", [0.01, 0.3, 0.8, 0.99])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
def test_the_smallest_set_that_holds_the_share_is_chosen(share: float, label_smoothing: float) -> None:
    torch.manual_seed(0)
    logits, labels = (4 * torch.randn(50, 7, dtype=torch.float64)).requires_grad_(), torch.arange(50) % 7
    F.cross_entropy(logits, labels, label_smoothing=label_smoothing, reduction="sum").backward()
    assert logits.grad is not None
    norms = logits.grad.norm(dim=1)
    chosen = largest_gradients(logits.detach(), labels, share, label_smoothing).bool()
    held = norms[chosen].sum() / norms.sum()
    assert held >= share
    assert held - norms[chosen].min() / norms.sum() < share, "without the smallest of them it would be too little"
    assert chosen.all() or norms[chosen].min() >= norms[~chosen].max()


def test_images_with_equal_gradients_are_chosen_in_their_order() -> None:
    assert largest_gradients(torch.zeros(5, 2), torch.zeros(5, dtype=torch.int64), 0.5).tolist() == [1, 1, 1, 0, 0]


def test_a_share_of_one_chooses_all_images_with_a_gradient() -> None:
    logits, labels = torch.randn(20, 3), torch.arange(20) % 3
    assert largest_gradients(logits, labels, 1.0).tolist() == [1] * 20


def test_nan_losses_stay_in_the_loss() -> None:
    """A NaN loss must stay visible, so its images stay in the loss."""
    logits = torch.zeros(3, 2)
    logits[1, 0] = torch.nan
    mask = largest_gradients(logits, torch.zeros(3, dtype=torch.int64), 0.5)
    loss = (F.cross_entropy(logits, torch.zeros(3, dtype=torch.int64), reduction="none") * mask).mean()
    assert loss.isnan()
