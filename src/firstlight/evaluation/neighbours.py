"""Exact nearest neighbours of feature vectors, by blocks of matrix products."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

BLOCK_SIZE = 4096  # candidates compared at a time, so that their scores and features fit into the cache


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest candidates of each query, the nearest first.

    Args:
        indices: Rows of the candidates, int64 [m k].
        distances: Euclidean distances, float64 [m k].
    """

    indices: Int64[Tensor, "m k"]
    distances: Float64[Tensor, "m k"]

    def __len__(self) -> int:
        return len(self.indices)


def nearest_neighbours(
    queries: Float[Tensor, "m f"], candidates: Float[Tensor, "n f"], num_neighbours: int
) -> Neighbours:
    """Return the candidates with the smallest Euclidean distance to each query.

    The search is exact: all squared distances are compared, `|q|^2 + |c|^2 - 2 q c` in float64, one block of candidates
    at a time. The distances of the chosen candidates are then computed from the differences, so that equal vectors have
    distance 0. Candidates at equal distances are sorted by their rows.

    Args:
        queries: Feature vectors, float [m f].
        candidates: Feature vectors among which to search, float [n f].
        num_neighbours: Number k of neighbours; all candidates if there are fewer.

    >>> found = nearest_neighbours(torch.tensor([[0.0]]), torch.tensor([[3.0], [-1.0], [9.0]]), 2)
    >>> found.indices.tolist(), found.distances.tolist()
    ([[1, 0]], [[1.0, 3.0]])
    """
    queries = queries.double()

    def closeness(block: slice) -> Float64[Tensor, "m b"]:
        features = candidates[block].double()
        # |q|^2 is left out, because it is the same for all candidates of a query and does not change their order.
        return 2 * queries @ features.T - (features**2).sum(dim=1)

    _, indices = largest_by_block(closeness, len(queries), len(candidates), num_neighbours)
    indices = indices.sort(dim=1).values
    differences = queries[:, None] - candidates[indices].double()
    distances, order = (differences**2).sum(dim=2).sqrt().sort(dim=1, stable=True)
    return Neighbours(indices.gather(1, order), distances)


def largest_by_block(
    score: Callable[[slice], Tensor], num_queries: int, num_candidates: int, num_chosen: int
) -> tuple[Float64[Tensor, "m k"], Int64[Tensor, "m k"]]:
    """Return the candidates with the largest scores, the largest first, without holding all scores in memory.

    Args:
        score: Function that returns the scores of a block of candidates for each query, float64 [m b].
        num_queries: Number m of queries.
        num_candidates: Number of candidates.
        num_chosen: Number k of candidates to return; all if there are fewer.

    Returns:
        Scores, float64 [m k], and rows of the candidates, int64 [m k].
    """
    best = torch.empty(num_queries, 0, dtype=torch.float64)
    rows = torch.empty(num_queries, 0, dtype=torch.int64)
    for start in range(0, num_candidates, BLOCK_SIZE):
        block = slice(start, min(start + BLOCK_SIZE, num_candidates))
        scores = score(block)
        values, found = scores.topk(min(num_chosen, scores.shape[1]), dim=1)
        best, rows = torch.cat([best, values], dim=1), torch.cat([rows, found + start], dim=1)
        best, order = best.topk(min(num_chosen, best.shape[1]), dim=1)
        rows = rows.gather(1, order)
    return best, rows
