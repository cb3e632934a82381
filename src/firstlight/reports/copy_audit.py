"""Copies in a data set: groups of images, the contradictions among their labels, and the leaks between the splits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor

from firstlight.arrays import Images
from firstlight.data.exact_copies import first_copies
from firstlight.data.free_memory import refuse_too_large
from firstlight.data.images import ImageSet
from firstlight.evaluation.copy_groups import connected_groups, exact_pairs
from firstlight.evaluation.intervals import wilson_interval
from firstlight.evaluation.near_copies import find_near_copies

TRAINING_SPLITS = ("train", "val")
NEAR_COPIES_FACTOR = 3  # memory of the search, as a multiple of the images
LARGEST_NEAR = 0.9999  # similarity of near copies: 1 stands for the same pixels


@dataclass(frozen=True)
class Member:
    """An image in a group of copies.

    Args:
        split: Name of its split.
        row: Row in the split.
        label: Its class.
        similarity: Similarity to the copy that is most like it, 1 for the same pixels.
    """

    split: str
    row: int
    label: int
    similarity: float = 1.0


@dataclass(frozen=True)
class CopyGroup:
    """Images that are copies of one another.

    Args:
        members: The images, by split and row.
    """

    members: tuple[Member, ...]

    @property
    def is_exact(self) -> bool:
        """Whether all images have a copy with the same pixels."""
        return all(member.similarity == 1 for member in self.members)

    @property
    def contradicts(self) -> bool:
        """Whether the images have different labels."""
        return len({member.label for member in self.members}) > 1

    @property
    def crosses_splits(self) -> bool:
        """Whether the images are in several splits."""
        return len({member.split for member in self.members}) > 1

    @property
    def similarity(self) -> float:
        """Smallest similarity of a member to its most similar copy."""
        return min(member.similarity for member in self.members)


@dataclass(frozen=True, eq=False)
class Leak:
    """Test images that have a copy among the images for training.

    Args:
        rows: Rows of these test images.
        num_images: Number of all test images.
        accuracy: Accuracy on all test images; None if they were not predicted.
        accuracy_without: Accuracy without the leaked images.
        interval_without: Its 95 % Wilson interval.
    """

    rows: tuple[int, ...]
    num_images: int
    accuracy: float | None = None
    accuracy_without: float | None = None
    interval_without: tuple[float, float] | None = None


def find_copies(
    splits: Mapping[str, ImageSet], *, finds_near: bool = True, progress: Callable[[int, int], None] | None = None
) -> tuple[list[CopyGroup], bool]:
    """Find the groups of copies in all splits: contradictions first, then leaks, then the others.

    Args:
        splits: Images of each split by its name, all of one size; train first.
        finds_near: Whether to look for near copies, too; see `firstlight.evaluation.near_copies`.
        progress: Called while near copies are searched, with the share of the work done, as a number of images, and
            the number of all images.

    Returns:
        The groups, and whether all candidates for near copies were compared.
    """
    first = first_copies(*(images.pixels for images in splits.values()))
    pairs = exact_pairs(first)
    similarities, is_complete = torch.ones(len(pairs), dtype=torch.float64), True
    if finds_near:
        distinct = (first == torch.arange(len(first))).nonzero().flatten()
        near = find_near_copies(_all_images(splits)[distinct], progress=progress)
        pairs = torch.cat([pairs, distinct[near.pairs]])
        similarities = torch.cat([similarities, near.similarities.clamp(max=LARGEST_NEAR)])
        is_complete = near.is_complete
    return group_copies(splits, pairs, similarities), is_complete


def _all_images(splits: Mapping[str, ImageSet]) -> Images:
    """Return the images of all splits, which the search for near copies compares in memory."""
    num_bytes = sum(images.pixels.shape.numel() for images in splits.values())
    refuse_too_large(NEAR_COPIES_FACTOR * num_bytes, f"near copies among {sum(map(len, splits.values())):,} images")
    return torch.cat([images.images for images in splits.values()])


def group_copies(splits: Mapping[str, ImageSet], pairs: Int64[Tensor, "m 2"], similarities: Tensor) -> list[CopyGroup]:
    """Return the groups that pairs of copies form: contradictions first, then leaks, then the others.

    Args:
        splits: Images of each split by its name.
        pairs: Indices of two copies each, counted through all splits, int64 [m 2].
        similarities: Similarity of each pair in [0, 1], float [m].
    """
    places = [(name, row, label) for name, images in splits.items() for row, label in enumerate(images.labels.tolist())]
    best: dict[int, float] = {}
    for pair, similarity in zip(pairs.tolist(), similarities.tolist(), strict=True):
        for index in pair:
            best[index] = max(best.get(index, 0.0), similarity)
    groups = [
        CopyGroup(tuple(Member(*places[index], best[index]) for index in group))
        for group in connected_groups(pairs, len(places))
    ]
    return sorted(groups, key=lambda group: (not group.contradicts, not group.crosses_splits, -group.similarity))


def find_leak(groups: Sequence[CopyGroup], test: ImageSet, predicted: Int64[Tensor, " n"] | None = None) -> Leak:
    """Return the test images with a copy in train or val, and the accuracy without them.

    Args:
        groups: Groups of copies.
        test: Test images.
        predicted: Predicted class of each test image; None if they were not predicted.
    """
    rows = sorted(
        member.row
        for group in groups
        if any(member.split in TRAINING_SPLITS for member in group.members)
        for member in group.members
        if member.split == "test"
    )
    if predicted is None or not len(test):
        return Leak(tuple(rows), len(test))
    right = predicted == test.labels
    kept = torch.ones(len(test), dtype=torch.bool)
    kept[rows] = False
    num_right, num_kept = int((right & kept).sum()), int(kept.sum())
    return Leak(
        tuple(rows),
        len(test),
        int(right.sum()) / len(test),
        num_right / num_kept if num_kept else None,
        wilson_interval(num_right, num_kept) if num_kept else None,
    )
