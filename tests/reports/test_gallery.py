"""The gallery: the choice of images, and that numbers and maps are those of the run."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest
import torch

from firstlight.attribution import explain
from firstlight.data.batches import to_unit
from firstlight.evaluation.predictions import Predictions
from firstlight.reports.gallery import choose_correct_rows, examples_of_classes, make_gallery, max_correct_of_class
from firstlight.runs.run import Run
from reference.made_run import make_run
from reference.tiny import tiny_split


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(Path(tmp_path_factory.mktemp("run")))


def decoded(text: str, size: tuple[int, int]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), np.int8).reshape(size)


def test_every_mistake_has_the_numbers_of_the_predictions(run):
    predictions = run.predictions
    gallery = make_gallery(run.network, tiny_split("test"), predictions, "grad_cam", None)
    wrong = {index for index, row in enumerate(predictions.logits) if row.argmax() != predictions.labels[index]}
    mistakes = gallery.entries[: gallery.num_mistakes]
    assert {entry["index"] for entry in mistakes} == wrong
    for entry in gallery.entries:
        shares = predictions.logits[entry["index"]].double().softmax(dim=0)
        assert entry["true"] == int(predictions.labels[entry["index"]])
        assert entry["confidence"] == pytest.approx(float(shares.max()), abs=2e-5)
        assert entry["loss"] == pytest.approx(-float(shares[entry["true"]].log()), abs=2e-5)
        assert [label for label, _ in entry["top"]] == shares.argsort(descending=True)[:3].tolist()


@pytest.mark.parametrize(("method", "stage"), [("grad_cam", None), ("hires_cam", "layer3"), ("layer_cam", "all")])
def test_the_maps_are_those_of_explain(run, method, stage):
    images = tiny_split("test")
    gallery = make_gallery(run.network, images, run.predictions, method, stage)
    entry = gallery.entries[0]
    for kind in ("predicted", "true", "contrast"):
        target = kind if kind == "contrast" else torch.tensor([entry[kind]])
        row = slice(entry["index"], entry["index"] + 1)
        expected = explain(
            run.network,
            to_unit(images.images[row]),
            method=method,
            stage=stage,
            target=target,
            labels=images.labels[row],
        )
        if kind != "contrast" and not expected.has_positive_evidence[0]:
            assert entry["maps"][kind] is None
        else:
            relative = (expected.maps[0] / expected.maps[0].abs().max()).numpy()
            found = decoded(entry["maps"][kind], gallery.map_size) / 127
            np.testing.assert_allclose(found, relative, atol=0.5 / 127 + 1e-4)


def test_fine_maps_are_averaged(run):
    images = tiny_split("test", size_px=32)
    gallery = make_gallery(run.network, images, run.predictions, "hires_cam", "prep", max_mistakes=1)
    assert gallery.map_size == (16, 16)
    entry = gallery.entries[0]
    row = slice(entry["index"], entry["index"] + 1)
    target = torch.tensor([entry["true"]])
    full = explain(run.network, to_unit(images.images[row]), method="hires_cam", stage="prep", target=target).maps[0]
    means = full.reshape(16, 2, 16, 2).mean(dim=(1, 3))
    found = decoded(entry["maps"]["true"], gallery.map_size) / 127
    np.testing.assert_allclose(found, (means / means.abs().max()).numpy(), atol=0.5 / 127 + 1e-4)


def test_the_most_confident_mistakes_are_kept(run):
    images = tiny_split("test")
    full = make_gallery(run.network, images, run.predictions, "grad_cam", None)
    short = make_gallery(run.network, images, run.predictions, "grad_cam", None, max_mistakes=3)
    assert [entry["index"] for entry in short.entries[:3]] == [entry["index"] for entry in full.entries[:3]]
    confidences = [entry["confidence"] for entry in full.entries[: full.num_mistakes]]
    assert confidences == sorted(confidences, reverse=True)


def predictions_without_mistakes(num_classes: int, per_class: int) -> Predictions:
    labels = torch.arange(num_classes).repeat_interleave(per_class)
    logits = torch.nn.functional.one_hot(labels, num_classes) * torch.linspace(1, 9, len(labels))[:, None]
    return Predictions(logits, torch.zeros(len(labels), 1), labels, torch.arange(len(labels)))


@pytest.mark.parametrize("num_classes", [2, 10, 100, 250])
def test_correct_images_are_the_extremes_of_each_class(num_classes):
    predictions = predictions_without_mistakes(num_classes, per_class=30)
    rows = choose_correct_rows(predictions, num_classes)
    each = max_correct_of_class(num_classes)
    assert torch.bincount(predictions.labels[rows], minlength=num_classes).tolist() == [each] * num_classes
    own = rows[predictions.labels[rows] == 0].tolist()
    assert own == [*range(29, 29 - each // 2, -1), *range(each // 2 - 1, -1, -1)], "confidence grows with the row"


def test_examples_are_the_extremes_of_their_class():
    entries = [
        {"true": 0, "predicted": 0, "confidence": 0.9, "loss": 0.1},
        {"true": 0, "predicted": 0, "confidence": 0.6, "loss": 0.5},
        {"true": 0, "predicted": 1, "confidence": 0.7, "loss": 1.2},
        {"true": 0, "predicted": 1, "confidence": 0.6, "loss": 2.0},
    ]
    first, second = examples_of_classes(entries, 2)
    assert first == {"most_confident_right": 0, "least_confident_right": 1, "largest_loss": 3}
    assert second == {}
