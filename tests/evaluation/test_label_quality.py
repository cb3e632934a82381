"""Scores of label quality, beside slow loops over images and classes."""

from __future__ import annotations

import pytest
import torch

from firstlight.evaluation.label_quality import (
    confident_classes,
    confident_joint,
    confident_learning,
    neighbour_agreement,
    neighbour_votes,
    neighbours_in_folds,
    normalized_margin,
    self_confidence,
)


@pytest.fixture
def made() -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    return (2 * torch.randn(90, 4, generator=draw)).softmax(dim=1), torch.randint(0, 4, (90,), generator=draw)


def classes_by_loop(p: list[list[float]], labels: list[int]) -> list[int]:
    thresholds = []
    for label in range(4):
        own = [row[label] for row, given in zip(p, labels, strict=True) if given == label]
        thresholds.append(sum(own) / len(own))
    return [
        max((k for k in range(4) if row[k] >= thresholds[k]), key=lambda k, row=row: row[k], default=-1) for row in p
    ]


def test_confident_joint_and_ranking_equal_a_slow_loop(made):
    p, labels = made
    p = p.double()
    classes = classes_by_loop(p.tolist(), labels.tolist())
    assert confident_classes(p, labels).tolist() == classes
    counts = [[0.0] * 4 for _ in range(4)]
    for given, found in zip(labels.tolist(), classes, strict=True):
        if found >= 0:
            counts[given][found] += 1
    expected = [
        [value / sum(row) * labels.tolist().count(given) / 90 for value in row] for given, row in enumerate(counts)
    ]
    torch.testing.assert_close(confident_joint(p, labels), torch.tensor(expected, dtype=torch.float64))
    off = torch.tensor([found not in (-1, given) for given, found in zip(labels.tolist(), classes, strict=True)])
    scores = confident_learning(p, labels)
    assert scores[off].max() < scores[~off].min(), "images off the diagonal come first"


def test_margin_is_the_distance_to_the_strongest_other_class(made):
    p, labels = made
    for row, (own, margin) in enumerate(zip(self_confidence(p, labels), normalized_margin(p, labels), strict=True)):
        others = [float(p[row, k]) for k in range(4) if k != int(labels[row])]
        assert float(own) == pytest.approx(float(p[row, labels[row]]))
        assert float(margin) == pytest.approx(float(own) - max(others))


def test_a_class_without_images_has_an_empty_row_and_is_never_found():
    p = torch.tensor([[0.2, 0.1, 0.7], [0.1, 0.2, 0.7], [0.8, 0.1, 0.1]])
    joint = confident_joint(p, torch.tensor([0, 1, 0]))
    assert joint[2].tolist() == [0, 0, 0]
    assert joint[:, 2].tolist() == [0, 0, 0]
    assert float(joint.sum()) == pytest.approx(1)


def test_votes_equal_a_slow_loop_and_never_cross_folds():
    draw = torch.Generator().manual_seed(1)
    features, labels = torch.randn(60, 5, generator=draw), torch.randint(0, 3, (60,), generator=draw)
    folds = torch.arange(60) % 2
    features[4], labels[4] = features[10], labels[10]  # equal vectors are still neighbours of each other
    votes = neighbour_votes(neighbours_in_folds(features, folds, 4), labels, 3)
    unit = features / features.norm(dim=1, keepdim=True)
    for row in range(60):
        others = [each for each in range(60) if each != row and int(folds[each]) == int(folds[row])]
        nearest = sorted(others, key=lambda each, row=row: float((unit[each] - unit[row]).norm()))[:4]
        expected = [sum(int(labels[each]) == label for each in nearest) / 4 for label in range(3)]
        assert votes[row].tolist() == pytest.approx(expected)
        assert float(neighbour_agreement(votes, labels)[row]) == pytest.approx(expected[int(labels[row])])


def test_a_single_image_has_no_votes():
    neighbours = neighbours_in_folds(torch.ones(1, 3), torch.tensor([0]), 3)
    assert neighbours.indices.tolist() == [[-1, -1, -1]]
    assert neighbour_votes(neighbours, torch.tensor([0]), 2).tolist() == [[0, 0]]
