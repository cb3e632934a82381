"""Mistakes: selection, order and numbers against plain Python."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from firstlight.errors import UsageError
from firstlight.evaluation.mistakes import Mistake, MistakeFilter, MistakeOrder
from firstlight.evaluation.predictions import Predictions
from reference.tiny import CLASS_NAMES
from reference.unchecked import without_type_checks

FIRST_ID = 100  # so that rows and ids differ


@pytest.fixture(scope="module")
def predictions() -> Predictions:
    draw = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(60, 4, generator=draw)
    logits[40:] = logits[:20]  # equal confidence: these keep their order
    labels = torch.randint(0, 4, (60,), generator=draw)
    return Predictions(logits, torch.zeros(60, 1), labels, FIRST_ID + torch.arange(60))


def softmax(logits: list[float]) -> list[float]:
    total = sum(math.exp(logit) for logit in logits)
    return [math.exp(logit) / total for logit in logits]


def mistakes_by_sorting(predictions: Predictions, order: MistakeOrder = "confidence") -> list[tuple[int, int, int]]:
    """Id, true and predicted class of every mistake, sorted by plain Python."""
    rows = []
    for id_, label, logits in zip(
        predictions.ids.tolist(), predictions.labels.tolist(), predictions.logits.tolist(), strict=True
    ):
        predicted = max(range(4), key=lambda k: logits[k])
        shares = softmax(logits)
        keys = {
            "confidence": -shares[predicted],
            "margin": shares[label] - shares[predicted],
            "loss": math.log(shares[label]),
            "index": id_,
        }
        if predicted != label:
            rows.append((round(keys[order], 6), id_, label, predicted))
    return [row[1:] for row in sorted(rows)]


@pytest.mark.parametrize("count", [1, 5, 1000])
@pytest.mark.parametrize(
    ("true", "predicted"), [(None, None), ("red", None), (None, "grey"), ("blue", "green"), ("red", "red")]
)
def test_the_most_confident_mistakes_of_the_chosen_classes_come_first(
    predictions: Predictions, count: int, true: str | None, predicted: str | None
) -> None:
    expected = [
        id_
        for id_, label, said in mistakes_by_sorting(predictions)
        if true in (None, CLASS_NAMES[label]) and predicted in (None, CLASS_NAMES[said])
    ]
    assert bool(expected) == (true is None or true != predicted)
    rows = MistakeFilter(count, true, predicted).rows(predictions, CLASS_NAMES)
    assert predictions.ids[rows].tolist() == expected[:count]


def test_images_by_index_keep_their_order_and_may_be_correct(predictions: Predictions) -> None:
    right = int((predictions.predicted == predictions.labels).nonzero()[0])
    wrong = int(predictions.misclassified()[-1])
    which = MistakeFilter(count=1, true="red", indices=(FIRST_ID + wrong, FIRST_ID + right, FIRST_ID + wrong))
    assert which.rows(predictions, CLASS_NAMES).tolist() == [wrong, right, wrong]


@pytest.mark.parametrize(
    ("which", "says"),
    [
        (MistakeFilter(true="pink"), "no class is called 'pink': choose one of red, green, blue, grey"),
        (MistakeFilter(predicted="Red"), "no class is called 'Red'"),
        (MistakeFilter(indices=(FIRST_ID, 5)), "no test image 5: the indices range from"),
        (MistakeFilter(indices=(-1,)), "no test image -1"),
    ],
)
def test_unknown_names_and_indices_are_refused_in_one_line(
    predictions: Predictions, which: MistakeFilter, says: str
) -> None:
    with pytest.raises(UsageError) as caught:
        which.rows(predictions, CLASS_NAMES)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_counts_and_indices_must_be_integers() -> None:
    wrong: list[tuple[Any, Any, str]] = [
        (0, (), "count must be an integer of 1 or more, not 0"),
        ("5", (), "count must be an integer of 1 or more, not '5'"),
        (True, (), "count must be an integer of 1 or more, not True"),
        (None, ("a",), "an index must be an integer, not 'a'"),
    ]
    for count, indices, said in wrong:
        with pytest.raises(UsageError, match=said), without_type_checks():
            MistakeFilter(count=count, indices=indices)


def test_the_range_that_is_named_is_that_of_the_test_images(predictions: Predictions) -> None:
    with pytest.raises(UsageError, match="from 100 to 159"):
        MistakeFilter(indices=(5,)).rows(predictions, CLASS_NAMES)


@pytest.mark.parametrize("order", ["confidence", "margin", "loss", "index"])
def test_the_order_equals_plain_sorting(predictions: Predictions, order: MistakeOrder) -> None:
    found = MistakeFilter(count=None, order=order).select(predictions, CLASS_NAMES)
    expected = mistakes_by_sorting(predictions, order)
    assert [(each.index, each.true, each.predicted) for each in found] == expected
    orders = [mistakes_by_sorting(predictions, other) for other in ("confidence", "margin", "loss", "index")]
    assert orders.count(expected) == 1, "the orders differ on this data, so that none passes for another"


def test_the_numbers_of_a_mistake_are_those_of_its_logits(predictions: Predictions) -> None:
    for mistake in MistakeFilter(count=None).select(predictions, CLASS_NAMES):
        row = mistake.index - FIRST_ID
        shares = softmax(predictions.logits[row].tolist())
        assert mistake.row == row
        assert mistake.probabilities == pytest.approx(shares, abs=1e-6)
        assert mistake.true_probability == pytest.approx(shares[int(predictions.labels[row])], abs=1e-6)
        assert mistake.predicted_probability == pytest.approx(max(shares), abs=1e-6)
        assert mistake.margin == pytest.approx(max(shares) - shares[mistake.true], abs=1e-6)
        assert mistake.loss == pytest.approx(-math.log(shares[mistake.true]), abs=1e-6)


def test_a_chosen_image_that_is_classified_correctly_has_no_margin(predictions: Predictions) -> None:
    right = int((predictions.predicted == predictions.labels).nonzero()[0])
    (found,) = MistakeFilter(indices=(FIRST_ID + right,)).select(predictions, CLASS_NAMES)
    assert isinstance(found, Mistake)
    assert found.margin == 0
    assert found.true == found.predicted


def test_an_unknown_order_is_refused(predictions: Predictions) -> None:
    says = "no order is called 'size': choose one of confidence, margin, loss, index"
    with without_type_checks(), pytest.raises(UsageError, match=says):
        MistakeFilter(order="size").rows(predictions, CLASS_NAMES)  # type: ignore[arg-type]


def test_a_mistake_has_the_name_of_its_file(predictions: Predictions) -> None:
    names = tuple(f"red/{number}.jpg" for number in range(60))
    which = MistakeFilter(count=3)
    for mistake in which.select(replace(predictions, file_names=names), CLASS_NAMES):
        assert mistake.name == mistake.file_name == f"red/{mistake.index - FIRST_ID}.jpg"
    for mistake in which.select(predictions, CLASS_NAMES):
        assert (mistake.name, mistake.file_name) == (f"test {mistake.index}", None)
