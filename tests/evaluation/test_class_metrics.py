"""Class metrics against torchmetrics and hand arithmetic."""

from __future__ import annotations

import math

import pytest
import torch
from torchmetrics.functional import mean_squared_error
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_calibration_error,
    multiclass_f1_score,
    multiclass_precision,
    multiclass_recall,
)

from firstlight.evaluation.calibration_error import calibration_error, reliability
from firstlight.evaluation.class_metrics import brier_score, class_metrics, top_k_accuracy
from firstlight.evaluation.confusion import confusion
from reference.sampled_labels import sampled_labels

ORACLES = {"precision": multiclass_precision, "recall": multiclass_recall, "f1": multiclass_f1_score}


def labels_and_predictions(num_classes: int, never_predicted: int | None, absent: int | None):
    draw = torch.Generator().manual_seed(num_classes)
    labels, predicted = torch.randint(0, num_classes, (2, 300), generator=draw)
    predicted = torch.where(torch.rand(300, generator=draw) < 0.5, labels, predicted)
    if never_predicted is not None:
        predicted[predicted == never_predicted] = 0
    if absent is not None:
        labels[labels == absent] = 0
    return labels, predicted


@pytest.mark.parametrize("average", ["none", "macro", "weighted"])
@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize(
    ("num_classes", "never_predicted", "absent"),
    [(2, None, None), (7, None, None), (7, 3, None), (7, None, 4), (7, 5, 5), (100, None, None)],
)
def test_precision_recall_and_f1_are_those_of_torchmetrics(name, average, num_classes, never_predicted, absent):
    labels, predicted = labels_and_predictions(num_classes, never_predicted, absent)
    metrics = class_metrics(confusion(labels, predicted, num_classes))
    ours = {
        "none": getattr(metrics, name),
        "macro": torch.tensor(metrics.macro()[name]),
        "weighted": torch.tensor(metrics.weighted()[name]),
    }[average]
    expected = ORACLES[name](predicted, labels, num_classes, average=average)
    torch.testing.assert_close(ours.float(), expected, atol=1e-6, rtol=0)
    assert metrics.support.sum() == metrics.num_predicted.sum() == 300


def test_the_weighted_recall_is_the_accuracy():
    labels, predicted = labels_and_predictions(7, None, None)
    metrics = class_metrics(confusion(labels, predicted, 7))
    assert metrics.weighted()["recall"] == pytest.approx(float((labels == predicted).double().mean()), abs=1e-12)


def test_no_images():
    empty = torch.zeros(0, dtype=torch.int64)
    metrics = class_metrics(confusion(empty, empty, 3))
    assert metrics.macro() == metrics.weighted() == {"precision": 0.0, "recall": 0.0, "f1": 0.0}
    assert math.isnan(brier_score(torch.zeros(0, 3), empty))
    assert math.isnan(top_k_accuracy(torch.zeros(0, 3), empty, [1])[1])


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_top_k_accuracy_is_that_of_torchmetrics(k):
    logits, labels = sampled_labels(1.5, num=400)
    num_classes = logits.shape[1]
    expected = multiclass_accuracy(logits, labels, num_classes, average="micro", top_k=k)
    assert top_k_accuracy(logits, labels, [k])[k] == pytest.approx(float(expected), abs=1e-6)


def test_equal_logits_rank_by_index_as_argmax_does():
    logits = torch.tensor([[1.0, 1.0, 0.0]] * 3)
    labels = torch.tensor([0, 1, 2])
    assert top_k_accuracy(logits, labels, [1, 2, 3]) == pytest.approx({1: 1 / 3, 2: 2 / 3, 3: 1.0})
    assert top_k_accuracy(logits, labels, [1])[1] == pytest.approx(float((logits.argmax(1) == labels).double().mean()))


def test_the_brier_score_is_the_mean_squared_error_times_the_number_of_classes():
    logits, labels = sampled_labels(2.0, num=400)
    probabilities = logits.softmax(dim=1)
    one_hot = torch.eye(logits.shape[1])[labels]
    expected = mean_squared_error(probabilities, one_hot) * logits.shape[1]
    assert brier_score(probabilities, labels) == pytest.approx(float(expected), abs=1e-6)
    assert brier_score(torch.tensor([[0.0, 1.0]]), torch.tensor([0])) == 2


def test_the_calibration_error_is_that_of_torchmetrics():
    logits, labels = sampled_labels(2.0, num=2000)
    probabilities = logits.softmax(dim=1)
    expected = multiclass_calibration_error(probabilities, labels, logits.shape[1], n_bins=15, norm="l1")
    assert calibration_error(probabilities, labels) == pytest.approx(float(expected), abs=1e-5)


def test_reliability_counts_every_image_once():
    logits, labels = sampled_labels(2.0, num=500)
    probabilities = logits.softmax(dim=1)
    bins = reliability(probabilities, labels)
    assert int(bins.counts.sum()) == 500
    right = float((probabilities.argmax(dim=1) == labels).sum())
    assert float((bins.accuracy * bins.counts).nansum()) == pytest.approx(right)
    for bin_index, mean in enumerate(bins.confidence.tolist()):
        assert math.isnan(mean) or bin_index / 15 < mean <= (bin_index + 1) / 15
