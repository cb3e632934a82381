"""Groups of images that are copies of one another: the connected components of pairs."""

from __future__ import annotations

from collections import defaultdict

import torch
from jaxtyping import Int64
from torch import Tensor


def connected_groups(pairs: Int64[Tensor, "m 2"], num_images: int) -> list[list[int]]:
    """Return the groups of images that pairs connect, directly or through others; images without a pair are left out.

    Args:
        pairs: Indices of two images each, int64 [m 2].
        num_images: Number of images.

    Returns:
        The indices in each group, ascending; groups are sorted by their first index.

    >>> connected_groups(torch.tensor([[5, 1], [1, 3], [0, 2]]), 6)
    [[0, 2], [1, 3, 5]]
    """
    root = list(range(num_images))

    def find(index: int) -> int:
        while root[index] != index:
            root[index] = root[root[index]]  # halves the path for the next search
            index = root[index]
        return index

    for first, second in pairs.tolist():
        low, high = sorted((find(first), find(second)))
        root[high] = low
    groups = defaultdict(list)
    for index in sorted(set(pairs.flatten().tolist())):
        groups[find(index)].append(index)
    return sorted(group for group in groups.values() if len(group) > 1)


def exact_pairs(first: Int64[Tensor, " n"]) -> Int64[Tensor, "m 2"]:
    """Return the pairs of each image that is an exact copy and the first image with its pixels, int64 [m 2].

    Args:
        first: Index of the first copy, from `firstlight.data.exact_copies.first_copies`.

    >>> exact_pairs(torch.tensor([0, 1, 0])).tolist()
    [[0, 2]]
    """
    copies = (first != torch.arange(len(first))).nonzero().flatten()
    return torch.stack([first[copies], copies], dim=1)
