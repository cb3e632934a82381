"""The training images that explain a mistake, against slow loops."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from firstlight.reports.training_evidence import NUM_NEIGHBOURS, find_training_evidence
from reference.made_run import make_run, say
from reference.tiny import tiny_split


def test_the_nearest_images_are_those_of_a_slow_loop(tmp_path):
    run, train = make_run(tmp_path), tiny_split("train")
    wrong = run.predictions.misclassified()[:6]
    found = find_training_evidence(run, train, run.predictions, wrong)
    known = say(run.network, train).features.double()
    assert found.num_images == len(train)
    for entry, row in zip(found.entries, wrong.tolist(), strict=True):
        query = run.predictions.features[row].double()
        distances = sorted((math.dist(query.tolist(), each.tolist()), number) for number, each in enumerate(known))
        expected = distances[:NUM_NEIGHBOURS]
        assert [found.rows[position] for position, _ in entry["nearest"]] == [number for _, number in expected]
        for (_, distance), (expected_distance, _) in zip(entry["nearest"], expected, strict=True):
            assert math.isclose(distance, expected_distance, rel_tol=2e-3, abs_tol=1e-4)


def test_thumbnails_carry_the_class_of_their_image(tmp_path):
    run, train = make_run(tmp_path), tiny_split("train")
    found = find_training_evidence(run, train, run.predictions, torch.arange(3))
    assert [each["label"] for each in found.thumbnails] == train.labels[found.rows].tolist()
    assert len(set(found.rows)) == len(found.rows)


def test_progress_is_reported(tmp_path, monkeypatch):
    monkeypatch.setenv("FIRSTLIGHT_CACHE", str(tmp_path / "cache"))
    run, train = make_run(tmp_path), tiny_split("train")
    seen = []
    find_training_evidence(run, train, run.predictions, torch.arange(1), lambda *counts: seen.append(counts))
    assert seen == [(len(train), len(train))]


def test_predictions_without_features_have_no_evidence(tmp_path):
    run, train = make_run(tmp_path), tiny_split("train")
    bare = replace(run.predictions, features=torch.zeros(len(run.predictions), 0))
    assert find_training_evidence(run, train, bare, torch.arange(1)) is None
