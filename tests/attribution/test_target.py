from __future__ import annotations

import pytest
import torch

from firstlight.attribution.target import Target, choose_target
from firstlight.errors import UsageError
from reference.unchecked import without_type_checks

LOGITS = torch.tensor([[1.0, 5.0, 2.0], [4.0, 0.0, 3.0]])
LABELS = torch.tensor([2, 0])


def test_names():
    assert choose_target("predicted", LOGITS, None).classes.tolist() == [1, 0]
    assert choose_target("true", LOGITS, LABELS).classes.tolist() == [2, 0]
    assert choose_target(torch.tensor([0, 2]), LOGITS, None).classes.tolist() == [0, 2]


def test_contrast_is_the_difference_and_zero_where_the_prediction_is_right():
    contrast = choose_target("contrast", LOGITS, LABELS)
    assert contrast.values(LOGITS).tolist() == [3.0, 0.0]
    assert contrast.logit_gradients(3).tolist() == [[0.0, 1.0, -1.0], [0.0, 0.0, 0.0]]


def test_logit_gradients_are_the_gradient_of_the_score():
    logits = LOGITS.clone().requires_grad_()
    target = Target(torch.tensor([1, 2]), against=torch.tensor([0, 1]))
    (gradient,) = torch.autograd.grad(target.values(logits).sum(), logits)
    assert gradient.equal(target.logit_gradients(3))


@pytest.mark.parametrize(
    ("target", "labels", "message"),
    [
        ("true", None, "needs the true labels"),
        ("contrast", None, "needs the true labels"),
        (torch.tensor([0, 3]), None, "from 0 to 2"),
        (torch.tensor([-1, 0]), None, "from 0 to 2"),
        (torch.tensor([0]), None, "1 classes for 2 images"),
        ("true", torch.tensor([0, 3]), "labels must be"),
        ("sure", LABELS, "unknown target 'sure'"),
        ([0, 1], None, "unknown target"),
        (3, None, "from 0 to 2"),
        (torch.tensor(-1), None, "from 0 to 2"),
        (torch.tensor([1.0, 2.0]), None, r"int64 \[n\], not float32 \[2\]"),
        (torch.tensor([[0, 1]]), None, r"not int64 \[1, 2\]"),
        (torch.tensor([True, False]), None, "not bool"),
    ],
)
def test_wrong_targets_are_refused_with_the_reason(target, labels, message):
    with without_type_checks(), pytest.raises(UsageError, match=message):
        choose_target(target, LOGITS, labels)


@pytest.mark.parametrize("target", [1, torch.tensor(1), torch.tensor([1, 1], dtype=torch.int32)])
def test_one_class_for_all_images(target):
    assert choose_target(target, LOGITS, None).classes.equal(torch.tensor([1, 1]))
