"""Exact copies: images with the same pixels, in several splits or under several classes."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from firstlight.arrays import Images
from firstlight.data.images import ImageSet
from firstlight.data.mapped_images import MappedImages

_WORD_BYTES = 8
_CHUNK_IMAGES = 4096  # images that are hashed at a time, because padding copies them
_SEED = 0


def first_copies(*splits: UInt8[Tensor, "_ 3 h w"] | MappedImages) -> Int64[Tensor, " n"]:
    """Return, for each image, the index of the first image with the same pixels, which may be the image itself.

    Images are compared by a 64-bit hash first, and by the SHA-256 of their pixels if the hashes are equal.

    Args:
        *splits: Raw pixels, uint8 [n 3 h w], all of one size, in memory or in a file. Indices count the
            images of all splits in order.

    Returns:
        Indices, int64 [n], over all splits.

    >>> black, white = torch.zeros(1, 3, 2, 2, dtype=torch.uint8), torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)
    >>> first_copies(torch.cat([black, white]), black).tolist()
    [0, 1, 0]
    """
    hashes = np.concatenate([_hashes(images) for images in splits])
    _, group_of, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    starts = np.cumsum([0, *map(len, splits)])
    first = torch.arange(len(hashes))
    first_by_pixels: dict[bytes, int] = {}  # by their digests, which take less memory
    for index in (counts[group_of] > 1).nonzero()[0].tolist():
        split = int(starts.searchsorted(index, side="right")) - 1
        digest = hashlib.sha256(_pixels_at(splits[split], index - int(starts[split]))).digest()
        first[index] = first_by_pixels.setdefault(digest, index)
    return first


def describe_copies(train: ImageSet, val: ImageSet, test: ImageSet) -> list[str]:
    """Return a line about copies across the splits and a line about pictures under two classes, if there are any.

    Args:
        train: Training images.
        val: Validation images; may be empty.
        test: Test images of the same size.
    """
    splits = {"train": train, "val": val, "test": test}
    split_names = np.repeat(list(splits), [len(images) for images in splits.values()])
    first = first_copies(*(images.pixels for images in splits.values())).numpy()
    labels = torch.cat([images.labels for images in splits.values()]).numpy()

    def name_of(index: int) -> str:
        split = str(split_names[index])
        return splits[split].name_of(index - int((split_names == split).argmax()))

    lines = []
    leaks = {split: _leaked(split, split_names, first) for split in ("test", "val")}
    found = [f"{len(rows):,} of {len(splits[split]):,} {split} images" for split, rows in leaks.items() if len(rows)]
    if found:
        row = next(int(rows[0]) for rows in leaks.values() if len(rows))
        pair = " and ".join(f"{name_of(i)} ({split_names[i]})" for i in (row, int(first[row])))
        lines.append(
            f"exact copies across the splits: {' and '.join(found)} have the pixels of an image in an earlier split, "
            f"for instance {pair}; accuracy on copies says nothing about new images"
        )
    conflicts = (labels != labels[first]).nonzero()[0]
    if len(conflicts):
        row = int(conflicts[0])
        pair = " and ".join(f"{name_of(i)} ({train.class_names[labels[i]]})" for i in (int(first[row]), row))
        count = len(np.unique(first[conflicts]))
        lines.append(f"{count:,} picture{'s' if count > 1 else ''} under two classes, for instance {pair}")
    return lines


def _leaked(split: str, split_names: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Return the rows of a split whose first copy is in an earlier split."""
    return ((split_names == split) & (split_names[first] != split)).nonzero()[0]


def _pixels_at(images: Images | MappedImages, row: int) -> bytes:
    pixels = images.gather(torch.tensor([row]))[0] if isinstance(images, MappedImages) else images[row]
    return pixels.numpy().tobytes()


def _hashes(images: Images | MappedImages) -> np.ndarray:
    """Return a hash of each image, uint64 [n]: the sum of its 64-bit words times random odd numbers, modulo 2^64."""
    if not len(images):
        return np.empty(0, dtype=np.uint64)
    num_words = -(-images.shape[1:].numel() // _WORD_BYTES)
    factors = np.random.default_rng(_SEED).integers(0, 2**64, num_words, dtype=np.uint64) | np.uint64(1)
    return np.concatenate([_words(chunk, num_words) @ factors for chunk in images.split(_CHUNK_IMAGES)])


def _words(images: Images, num_words: int) -> np.ndarray:
    pixels = images.contiguous().flatten(1).numpy()
    padding = num_words * _WORD_BYTES - pixels.shape[1]
    if padding:
        pixels = np.pad(pixels, ((0, 0), (0, padding)))
    return pixels.view(np.uint64)
