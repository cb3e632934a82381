"""Groups of copies, beside a search that follows the pairs one by one."""

from __future__ import annotations

import torch

from firstlight.evaluation.copy_groups import connected_groups, exact_pairs


def groups_by_search(pairs: list[list[int]]) -> list[list[int]]:
    found: list[set[int]] = []
    for start in sorted({index for pair in pairs for index in pair}):
        if any(start in group for group in found):
            continue
        group, grew = {start}, True
        while grew:
            more = {index for pair in pairs if group & set(pair) for index in pair}
            grew = not more <= group
            group |= more
        found.append(group)
    return [sorted(group) for group in found]


def test_groups_are_the_connected_components() -> None:
    draw = torch.Generator().manual_seed(0)
    pairs = torch.randint(0, 60, (40, 2), generator=draw)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    groups = connected_groups(pairs, 60)
    assert groups == groups_by_search(pairs.tolist())
    assert max(map(len, groups)) > 3


def test_copies_are_paired_with_the_first_image() -> None:
    assert exact_pairs(torch.tensor([0, 0, 2, 0, 2])).tolist() == [[0, 1], [0, 3], [2, 4]]
    assert connected_groups(exact_pairs(torch.arange(3)), 3) == []
