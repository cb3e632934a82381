"""The bounds of blocks hide no similar pair, and half of the shifts find every shifted copy in either order."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from firstlight.evaluation import copy_candidates
from firstlight.evaluation.copy_candidates import MARGIN_PX, find_candidates, similar_pairs
from reference.textured import textured


@pytest.mark.parametrize("is_symmetric", [False, True])
def test_the_pairs_equal_those_of_all_cosines(monkeypatch: pytest.MonkeyPatch, is_symmetric: bool) -> None:
    monkeypatch.setattr(copy_candidates, "BLOCK_ROWS", 7)
    monkeypatch.setattr(copy_candidates, "BLOCK_COLUMNS", 5)
    monkeypatch.setattr(copy_candidates, "MAX_PER_IMAGE", 1000)
    draw = torch.Generator().manual_seed(0)
    # Few dimensions beside the bounding ones, so that the bounds are not far from the cosines.
    queries, centres = functional.normalize(torch.randn(2, 60, 34, generator=draw), dim=2)
    if is_symmetric:
        queries = centres
    threshold = 0.3
    pairs, cosines = similar_pairs(queries, centres, threshold, is_symmetric=is_symmetric)
    expected = {}
    for i in range(60):
        for j in range(60):
            cosine = float((queries[i] * centres[j]).sum())
            if cosine >= threshold and (i < j if is_symmetric else i != j):
                expected.setdefault((min(i, j), max(i, j)), []).append(cosine)
    found: dict[tuple[int, int], list[float]] = {}
    for (i, j), cosine in zip(pairs.tolist(), cosines.tolist(), strict=True):
        found.setdefault((i, j), []).append(cosine)
    assert len(expected) > 20
    assert found.keys() == expected.keys()
    for pair, values in expected.items():
        assert sorted(found[pair]) == pytest.approx(sorted(values), abs=1e-5)


def test_a_query_keeps_its_most_similar_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy_candidates, "MAX_PER_IMAGE", 2)
    angles = torch.tensor([0.0, 0.1, 0.2, 0.3, 0.4])
    vectors = torch.stack([angles.cos(), angles.sin()], dim=1)
    pairs, _ = similar_pairs(vectors[:1].expand(5, -1).contiguous(), vectors, 0.5, is_symmetric=True)
    assert pairs.tolist()[:2] == [[0, 1], [0, 2]]
    assert [0, 3] not in pairs.tolist()


@pytest.mark.parametrize("is_mirrored", [False, True])
def test_a_copy_shifted_in_any_direction_is_a_candidate(is_mirrored: bool) -> None:
    images = textured(40)
    shifts = [(down, right) for down in (-MARGIN_PX, 0, MARGIN_PX) for right in (-MARGIN_PX, 0, MARGIN_PX)]
    for number, shift in enumerate(shifts):
        copy = torch.roll(images[number], shift, dims=(1, 2))
        images[20 + number] = copy.flip(2) if is_mirrored else copy
    candidates = find_candidates(images)
    found = candidates.pairs[candidates.is_mirrored == is_mirrored].tolist()
    assert all([number, 20 + number] in found for number in range(len(shifts)))
