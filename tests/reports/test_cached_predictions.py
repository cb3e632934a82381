"""The cache of predictions: computed once, again after any change, and never more than the disk can hold."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from firstlight.reports import cached_predictions as module
from firstlight.reports.cached_predictions import cache_path, cached_predictions, predict_images, remove_oldest
from reference.made_run import say, unlearned
from reference.tiny import tiny_split


@pytest.fixture
def images():
    return tiny_split("test")


@pytest.fixture
def network(images):
    return unlearned(images)


@pytest.fixture
def computed(monkeypatch, tmp_path):
    """The number of times that predictions were computed."""
    monkeypatch.setenv("FIRSTLIGHT_CACHE", str(tmp_path / "cache"))
    calls = []

    def counted(*arguments, **options):
        calls.append(arguments)
        return predict_images(*arguments, **options)

    monkeypatch.setattr(module, "predict_images", counted)
    return calls


def test_predictions_are_those_of_a_plain_forward_pass(network, images):
    expected, found = say(network, images), predict_images(network, images)
    torch.testing.assert_close(found.logits, expected.logits)
    torch.testing.assert_close(found.features, expected.features)
    assert found.ids.equal(images.ids)


def test_they_are_computed_once(network, images, computed):
    first, second = cached_predictions(network, images), cached_predictions(network, images)
    assert len(computed) == 1
    assert second.logits.equal(first.logits)
    assert second.features.equal(first.features)


def test_file_names_are_those_of_the_images_at_hand(network, images, computed):
    cached_predictions(network, images)
    names = tuple(f"photo {index}.png" for index in range(len(images)))
    assert cached_predictions(network, replace(images, file_names=names)).file_names == names
    assert len(computed) == 1


@pytest.mark.parametrize("what", ["weights", "pixels", "labels", "precision"])
def test_another_input_is_computed_anew(network, images, computed, what):
    cached_predictions(network, images)
    if what == "weights":
        with torch.no_grad():
            network.head.weight[0, 0] += 1
    if what == "pixels":
        changed = images.images.clone()
        changed[0, 0, 0, 0] ^= 1
        images = replace(images, images=changed)
    if what == "labels":
        images = replace(images, labels=images.labels.flip(0))
    cached_predictions(network, images, is_bfloat16=what == "precision")
    assert len(computed) == 2


def test_a_damaged_file_is_replaced(network, images, computed):
    expected = cached_predictions(network, images)
    path = cache_path(network, images, is_bfloat16=False)
    path.write_bytes(path.read_bytes()[:-900])
    assert cached_predictions(network, images).logits.equal(expected.logits)
    assert len(computed) == 2
    cached_predictions(network, images)
    assert len(computed) == 2


def test_a_cache_that_cannot_be_written_is_no_error(network, images, computed, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("FIRSTLIGHT_CACHE", str(tmp_path / "file"))
    assert len(cached_predictions(network, images)) == len(images)


def test_progress_counts_images(network, images, monkeypatch):
    monkeypatch.setattr(module, "BATCH_SIZE", 40)
    seen = []
    predict_images(network, images, on_image=lambda done, total: seen.append((done, total)))
    assert seen == [(40, 83), (80, 83), (83, 83)]


def test_the_files_used_longest_ago_are_removed(tmp_path: Path):
    for age, name in enumerate(["newest", "older", "oldest"]):
        path = tmp_path / f"{name}.npz"
        path.write_bytes(bytes(100))
        os.utime(path, (1000 - age, 1000 - age))
    remove_oldest(tmp_path, 200)
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["newest", "older"]
    remove_oldest(tmp_path, 10)
    assert [path.stem for path in tmp_path.iterdir()] == ["newest"]
