"""The sheet of mistakes: its maps are those of `explain`, and its title counts the mistakes and names the filter."""

from __future__ import annotations

import math
from copy import deepcopy

import numpy as np
import pytest
import torch

from firstlight.attribution import explain
from firstlight.errors import UsageError
from firstlight.evaluation.mistakes import MistakeFilter
from firstlight.evaluation.predictions import Predictions
from firstlight.networks import ResNet9
from firstlight.plots.mistake_sheet import percent
from firstlight.plots.overlay import NO_EVIDENCE, overlay
from firstlight.reports.explained_mistakes import NO_EVIDENCE_NOTE, misclassified_images
from reference.legible import assert_legible
from reference.made_run import say, unlearned
from reference.mistake_sheet import captions_of, images_of
from reference.tiny import CLASS_NAMES, tiny_split


def mistakes_by_sorting(predictions: Predictions) -> list[tuple[int, int, int]]:
    """Return id, true and predicted class of every mistake, most confident first."""
    rows = []
    for id_, label, logits in zip(
        predictions.ids.tolist(), predictions.labels.tolist(), predictions.logits.tolist(), strict=True
    ):
        said = max(range(4), key=lambda k: logits[k])
        confidence = math.exp(logits[said]) / sum(math.exp(logit) for logit in logits)
        if said != label:
            rows.append((-round(confidence, 6), id_, label, said))
    return [row[1:] for row in sorted(rows)]


@pytest.fixture(scope="module")
def network() -> ResNet9:
    return unlearned(tiny_split("train"))


@pytest.mark.parametrize(
    ("method", "stage"), [("grad_cam", None), ("layer_cam", "layer1"), ("hires_cam", "all"), ("grad_cam_pp", "layer3")]
)
def test_the_maps_of_each_mistake_are_those_that_explain_gives_for_its_two_classes(
    network: ResNet9, method: str, stage: str | None
) -> None:
    """Compare with one image at a time, for classes found by hand."""
    whole = tiny_split("test")
    images = whole[torch.arange(20, 50)]
    predictions = say(network, images)
    figure = misclassified_images(network, images, predictions, MistakeFilter(2), method, stage)
    expected = mistakes_by_sorting(predictions)[:2]
    captions = [text for text in captions_of(figure) if text != NO_EVIDENCE]
    assert captions[::3] == [f"test {id_}" for id_, _, _ in expected]
    for row, (tiles, (id_, label, said)) in enumerate(zip(images_of(figure), expected, strict=True)):
        image = whole.images[id_]
        np.testing.assert_array_equal(tiles[0].get_array(), image.permute(1, 2, 0))
        shares = network(image[None] / 255).softmax(dim=1)[0].tolist()
        for column, word, number in ((1, "says", said), (2, "is", label)):
            assert captions[3 * row + column] == f"{word} {CLASS_NAMES[number]}\n{percent(shares[number])}"
            found = explain(network, image[None] / 255, method=method, stage=stage, target=torch.tensor([number]))
            drawn = np.asarray(tiles[column].get_array(), dtype=int)
            np.testing.assert_allclose(drawn, overlay(image.numpy(), found.upsampled()[0].numpy()), atol=4)
    assert f"{method}, stage {stage or 'residual3'}" in figure.axes[-1].get_xlabel()


def test_maps_without_positive_evidence_are_explained_below_the_sheet(network: ResNet9) -> None:
    images = tiny_split("test")
    predictions = say(network, images)
    silent = deepcopy(network)
    torch.nn.init.zeros_(silent.head.weight)  # no activation changes any score
    figure = misclassified_images(silent, images, predictions, MistakeFilter(1))
    assert captions_of(figure).count(NO_EVIDENCE) == 2
    assert figure.axes[-1].get_xlabel().endswith(NO_EVIDENCE_NOTE)
    assert_legible(figure)
    figure = misclassified_images(network, images, predictions, MistakeFilter(1))
    assert NO_EVIDENCE not in captions_of(figure)
    assert NO_EVIDENCE_NOTE not in figure.axes[-1].get_xlabel()


def test_the_title_counts_the_mistakes_and_names_the_filter(network: ResNet9) -> None:
    images = tiny_split("test")
    predictions = say(network, images)
    _, label, said = mistakes_by_sorting(predictions)[0]
    true, predicted = CLASS_NAMES[label], CLASS_NAMES[said]

    def title(**which: object) -> str:
        figure = misclassified_images(network, images, predictions, MistakeFilter(**which))
        return " ".join(figure.get_suptitle().split())

    num_wrong = len(mistakes_by_sorting(predictions))
    counted = f"tiny test: {num_wrong} of 83 misclassified, most confident first"
    assert title(count=1) == counted
    assert title(count=1, true=true, predicted=predicted) == f"{counted} (is {true}, says {predicted})"
    assert title(indices=(3,)) == "tiny test: chosen images"


def test_a_network_without_a_mistake_has_an_empty_sheet_that_says_so(network: ResNet9) -> None:
    images = tiny_split("test")[torch.arange(5)]
    said = say(network, images)
    perfect = Predictions(said.logits, said.features, said.predicted, said.ids)
    figure = misclassified_images(network, images, perfect)
    assert "0 of 5 misclassified" in figure.get_suptitle()
    assert not images_of(figure)


@pytest.mark.parametrize(
    ("which", "says"),
    [
        (MistakeFilter(true="red"), "no misclassified test image has the true class red"),
        (MistakeFilter(predicted="grey"), "no misclassified test image has the predicted class grey"),
        (
            MistakeFilter(true="red", predicted="red"),
            "has the true class red and the predicted class red",
        ),
    ],
)
def test_classes_without_a_mistake_between_them_are_refused_in_one_line(
    network: ResNet9, which: MistakeFilter, says: str
) -> None:
    images = tiny_split("test")[torch.arange(5)]
    said = say(network, images)
    perfect = Predictions(said.logits, said.features, said.predicted, said.ids)
    with pytest.raises(UsageError, match=f"{says}$"):
        misclassified_images(network, images, perfect, which)
