"""Balanced classes: the weights by hand, the loss and its gradients by autograd, and a whole training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from firstlight.data.source import SOURCES
from firstlight.errors import UsageError
from firstlight.networks import ResNet9Config
from firstlight.recipes.config import Recipe
from firstlight.training.fit import fit
from firstlight.training.initialization import seeded_network
from firstlight.training.steps.class_weights import class_weights_of
from firstlight.training.steps.gradients import step_gradients
from firstlight.training.steps.importance import gradients_at_logits
from firstlight.training.steps.losses import Losses, balanced_class_weights
from firstlight.training.steps.step import AutogradStep
from reference.interrupted import NEVER, PLAIN, RECIPE
from reference.tiny import tiny_split

LABELS = torch.tensor([0, 0, 0, 0, 0, 1, 2, 2])


def test_each_class_counts_the_same() -> None:
    weights = balanced_class_weights(LABELS, 3)
    assert weights.tolist() == pytest.approx([8 / (3 * 5), 8 / (3 * 1), 8 / (3 * 2)])
    assert [float(weights[LABELS][label == LABELS].sum()) for label in range(3)] == pytest.approx([8 / 3] * 3)
    assert balanced_class_weights(torch.tensor([0, 2]), 3).tolist() == [1, 0, 1]


def test_the_loss_is_that_of_pytorch_over_the_sum_of_the_weights() -> None:
    logits, weights = torch.randn(8, 3), balanced_class_weights(LABELS, 3)
    losses = Losses.of(logits, LABELS, 0.0, weights)
    torch.testing.assert_close(losses.mean, F.cross_entropy(logits, LABELS, weights))  # the weights' mean is 1 here
    torch.testing.assert_close(losses.plain, F.cross_entropy(logits, LABELS, reduction="none"))


def test_the_gradients_that_choose_images_are_those_of_autograd() -> None:
    logits, weights = torch.randn(8, 3, requires_grad=True), balanced_class_weights(LABELS, 3)
    (expected,) = torch.autograd.grad(Losses.of(logits, LABELS, 0.1, weights).smoothed.sum(), logits)
    torch.testing.assert_close(gradients_at_logits(logits.detach(), LABELS, 0.1, weights), expected)


def test_both_kinds_of_step_have_the_same_gradients() -> None:
    recipe = Recipe(network=ResNet9Config(width=2), label_smoothing=0.1)
    network = seeded_network(3, recipe).train()
    images, weights = torch.rand(8, 3, 16, 16), balanced_class_weights(LABELS, 3)
    _, loss = AutogradStep(network, recipe, weights)(images, LABELS, 0.0)
    expected = torch.autograd.grad(loss, [each for each in network.parameters() if each.requires_grad])
    _, found = step_gradients(network, images, LABELS, 0.1, 1.0, None, weights)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-3)


def test_a_training_uses_the_weights_of_its_own_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tiny_split("train")
    rare = torch.cat([(whole.labels != 0).nonzero().flatten(), (whole.labels == 0).nonzero().flatten()[:6]])
    monkeypatch.setitem(SOURCES, "tiny", lambda data_dir, split: whole[rare] if split == "train" else tiny_split(split))
    options = {"logger": "none", "checkpoints": NEVER} | PLAIN
    recipe = replace(RECIPE, max_epochs=1, num_val=8)
    plain = fit(recipe, logs_dir=tmp_path, **options).network.state_dict()
    weighted = fit(replace(recipe, class_weights="balanced"), logs_dir=tmp_path, **options).network.state_dict()
    assert not all(torch.equal(each, weighted[name]) for name, each in plain.items())
    with pytest.raises(UsageError, match="leave it out for a loader"):
        class_weights_of(replace(recipe, class_weights="balanced"), None, torch.device("cpu"))
