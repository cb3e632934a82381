"""Nearest neighbours, beside a slow loop over all pairs."""

from __future__ import annotations

import math

import pytest
import torch

from firstlight.evaluation import neighbours
from firstlight.evaluation.neighbours import nearest_neighbours


def by_loop(queries: torch.Tensor, candidates: torch.Tensor, count: int) -> tuple[list[list[int]], list[list[float]]]:
    """Sort all candidates of each query by their distance, computed number by number."""
    rows, distances = [], []
    for query in queries.tolist():
        found = sorted(
            (math.sqrt(sum((a - b) ** 2 for a, b in zip(query, candidate, strict=True))), row)
            for row, candidate in enumerate(candidates.tolist())
        )[:count]
        rows.append([row for _, row in found])
        distances.append([distance for distance, _ in found])
    return rows, distances


@pytest.mark.parametrize("block_size", [1, 7, 64, 4096])
def test_the_search_equals_a_slow_loop_whatever_the_block(monkeypatch, block_size):
    monkeypatch.setattr(neighbours, "BLOCK_SIZE", block_size)
    draw = torch.Generator().manual_seed(0)
    queries, candidates = torch.randn(9, 6, generator=draw), torch.randn(64, 6, generator=draw)
    found = nearest_neighbours(queries, candidates, 5)
    rows, distances = by_loop(queries, candidates, 5)
    assert found.indices.tolist() == rows
    torch.testing.assert_close(found.distances, torch.tensor(distances, dtype=torch.float64))


def test_close_vectors_far_from_the_origin_keep_their_order():
    """In float32 the squared norms, 1e8, would swallow the differences."""
    candidates = 1e4 + torch.tensor([[3.0], [1.0], [2.0], [0.0]])
    found = nearest_neighbours(torch.full((1, 1), 1e4), candidates, 3)
    assert found.indices.tolist() == [[3, 1, 2]]
    assert found.distances.tolist() == [[0.0, 1.0, 2.0]]


def test_equal_candidates_are_sorted_by_row_and_few_candidates_are_all_returned():
    found = nearest_neighbours(torch.zeros(1, 2), torch.ones(3, 2), 5)
    assert found.indices.tolist() == [[0, 1, 2]]
    assert len(nearest_neighbours(torch.zeros(0, 2), torch.ones(3, 2), 5)) == 0
