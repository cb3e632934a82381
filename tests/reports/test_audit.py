"""The audit of a data set whose faults are planted: wrong labels, copies, contradictions and leaks."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from firstlight.data.images import ImageSet
from firstlight.errors import UsageError
from firstlight.evaluation.predictions import Predictions
from firstlight.reports.audit import as_csv, audit
from firstlight.reports.audit_texts import summary
from firstlight.reports.copy_audit import find_leak
from firstlight.reports.label_audit import HeldOut, mean_predictions
from reference.tiny import tiny_split

WRONG = {5: 2, 40: 3, 77: 0}  # row in train: label, where the image shows class row % 4


def planted() -> dict[str, ImageSet]:
    """Return both splits with three wrong labels, a leak, a contradiction and a copy within train."""
    train, test = tiny_split("train"), tiny_split("test")
    images, labels = train.images.clone(), train.labels.clone()
    for row, label in WRONG.items():
        labels[row] = label
    images[100] = images[101]  # classes 0 and 1: a contradiction
    images[120] = images[124]  # the same class
    test_images = test.images.clone()
    test_images[10] = images[30]  # a leak
    return {"train": replace(train, images=images, labels=labels), "test": replace(test, images=test_images)}


def predictions_of(images: ImageSet, shown: torch.Tensor) -> HeldOut:
    """Return confident predictions of what the images show."""
    draw = torch.Generator().manual_seed(0)
    logits = 6 * functional.one_hot(shown, 4).float() + torch.randn(len(images), 4, generator=draw)
    features = functional.one_hot(shown, 4).float() + 0.1 * torch.randn(len(images), 4, generator=draw)
    predictions = Predictions(logits, features, images.labels, images.ids, images.file_names)
    return HeldOut(predictions, torch.zeros_like(images.labels), "a made network")


@pytest.fixture
def held_out() -> dict[str, HeldOut]:
    return {name: predictions_of(images, torch.arange(len(images)) % 4) for name, images in planted().items()}


def test_every_planted_fault_is_found_and_nothing_else(held_out: dict[str, HeldOut]) -> None:
    found = audit("planted", planted(), held_out, finds_near=True)
    labels = found.labels["train"]
    assert set(labels.rows.tolist()) == set(WRONG)
    assert [int(labels.noise.likely[row]) for row in WRONG] == [row % 4 for row in WRONG]
    assert labels.noise.share == pytest.approx(3 / 192, abs=0.01)
    assert found.labels["test"].rows.tolist() == []
    members = [[(member.split, member.row) for member in group.members] for group in found.groups]
    assert members == [
        [("train", 100), ("train", 101)],
        [("train", 30), ("test", 10)],
        [("train", 120), ("train", 124)],
    ]
    assert [group.contradicts for group in found.groups] == [True, False, False]
    assert found.leak is not None
    assert found.leak.rows == (10,)


def test_rows_of_the_table_name_image_and_partner(held_out: dict[str, HeldOut]) -> None:
    names = tuple(f"class/{row:03},.png" for row in range(192))
    splits = planted()
    splits["train"] = replace(splits["train"], file_names=names)
    rows = list(csv.DictReader(io.StringIO(as_csv(audit("planted", splits, held_out).findings()))))
    assert [row["kind"] for row in rows[:6]] == ["label"] * 3 + ["duplicate"] * 3
    assert {row["kind"] for row in rows[6:]} <= {"odd", "sign"}
    assert {(int(row["id"]), row["given"], row["likely"]) for row in rows[:3]} == {
        (row, tiny_split("train").class_names[label], tiny_split("train").class_names[row % 4])
        for row, label in WRONG.items()
    }
    assert rows[0]["file"] == names[int(rows[0]["id"])]
    assert [float(row["score"]) for row in rows[:3]] == sorted((float(row["score"]) for row in rows[:3]), reverse=True)
    assert (rows[3]["id"], rows[3]["partner_id"]) == ("101", "100")
    assert rows[3]["remark"] == "exact copies with different labels, in train"
    assert (rows[4]["split"], rows[4]["id"], rows[4]["partner_split"], rows[4]["partner_id"]) == (
        "test",
        "10",
        "train",
        "30",
    )


def test_accuracy_without_leaks_is_counted_by_hand(held_out: dict[str, HeldOut]) -> None:
    test = planted()["test"]
    predicted = test.labels.clone()
    predicted[[1, 2, 10]] = (predicted[[1, 2, 10]] + 1) % 4
    leak = find_leak(audit("planted", planted(), {}).groups, test, predicted)
    assert leak.accuracy == pytest.approx(80 / 83)
    assert leak.accuracy_without == pytest.approx(80 / 82)


def test_too_few_images_and_a_weak_network_are_said(held_out: dict[str, HeldOut]) -> None:
    splits = {name: images[:40] for name, images in planted().items()}
    few = {name: predictions_of(images, images.labels) for name, images in splits.items()}
    found = audit("few", splits, few, remarks=["known before"])
    assert found.labels == {}
    assert summary(found)[-3:] == [
        "known before",
        "The labels of train were not checked: there are too few images, or a single class.",
        "The labels of test were not checked: there are too few images, or a single class.",
    ]
    train = planted()["train"]
    lost = predictions_of(train, torch.randint(0, 4, (192,), generator=torch.Generator().manual_seed(3)))
    assert "agrees with only" in summary(audit("weak", {"train": train}, {"train": lost}))[-1]
    with pytest.raises(UsageError, match="no image"):
        audit("empty", {"train": train[:0]}, {})


def test_the_mean_of_networks_is_that_of_their_log_probabilities() -> None:
    train = planted()["train"]
    parts = [predictions_of(train, (torch.arange(192) + shift) % 4).predictions for shift in (0, 1)]
    mean = mean_predictions(parts)
    product = (parts[0].probabilities().double() * parts[1].probabilities().double()).sqrt()
    torch.testing.assert_close(
        mean.probabilities().double(), product / product.sum(dim=1, keepdim=True), rtol=1e-4, atol=1e-6
    )
    assert mean.features.equal(parts[0].features)


def test_what_was_not_searched_is_said() -> None:
    splits = {"train": tiny_split("train"), "test": tiny_split("test")}
    exact, near = (summary(audit("clean", splits, {}, finds_near=finds_near)) for finds_near in (False, True))
    assert "Leaks: no exact copy of a test image was found among the training images." in exact
    assert "Only exact copies were searched (--without_near_copies)." in exact
    assert "Leaks: no copy of a test image was found among the training images." in near
