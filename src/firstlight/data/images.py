"""ImageSet: the images of one split with their labels. Every data set is read into this class."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from firstlight.arrays import Ids, Images, Labels, Masks
from firstlight.data.mapped_images import MappedImages
from firstlight.data.rng import generator
from firstlight.errors import DataError

MIN_STD = 1 / 255  # the difference of two neighbouring values of uint8
MAX_NAMED = 10  # classes that a message names


CHUNK_IMAGES = 4096  # images of which statistics and digests are computed at a time


class _LoadedImages:
    """The field `images` of an ImageSet: accepts pixels in memory or in a file, and returns them in memory."""

    def __get__(self, owner: Any, kind: type | None = None) -> Images:
        if owner is None:
            raise AttributeError  # the field has no default
        pixels = owner.pixels
        if isinstance(pixels, MappedImages):
            owner.__dict__["_pixels"] = pixels = pixels.load(owner.name)
        return pixels

    def __set__(self, owner: Any, pixels: Images | MappedImages) -> None:
        owner.__dict__["_pixels"] = pixels


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images with labels.

    The pixels are in memory, or in a file that is too large for it. What goes over all images uses `chunks`, and what
    needs some images indexes the set first: `images[rows].images`. The field `images` itself loads all of them.

    Args:
        images: Raw pixels, uint8 [n 3 h w], RGB, or MappedImages.
        labels: Classes, int64 [n].
        class_names: Name of each class.
        ids: Index of each image in the published split, int64 [n]; splitting and indexing keep it.
        evidence: Pixels that show the object, bool [n h w]; None if unknown.
        name: Name of the set in figures and reports.
        file_names: Path of each image's file below the data set's folder; None if images have no files of their own.

    Raises:
        ValueError: The lengths differ, or a label has no class name.

    >>> grey = torch.full((4, 3, 2, 2), 128, dtype=torch.uint8)
    >>> pair = ImageSet(grey, torch.tensor([0, 1, 0, 1]), ("cat", "dog"))
    >>> len(pair), pair[torch.tensor([3])].ids.tolist()
    (4, [3])
    """

    if TYPE_CHECKING:  # mypy would take the descriptor for a default
        images: Images
    else:
        images: Images | MappedImages = _LoadedImages()
    labels: Labels
    class_names: tuple[str, ...]
    ids: Ids = field(default=None)  # type: ignore[assignment]  # filled in below
    evidence: Masks | None = None
    name: str = "images"
    file_names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.ids is None:
            object.__setattr__(self, "ids", torch.arange(len(self.pixels)))
        if not len(self.pixels) == len(self.labels) == len(self.ids):
            raise ValueError(f"{len(self.pixels)} images, {len(self.labels)} labels and {len(self.ids)} ids")
        if self.file_names is not None and len(self.file_names) != len(self.pixels):
            raise ValueError(f"{len(self.pixels)} images and {len(self.file_names)} file names")
        if len(self.labels) and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < len(self.class_names):
            raise ValueError(f"labels must be 0 to {len(self.class_names) - 1}, one for each class name")

    @property
    def pixels(self) -> Images | MappedImages:
        """The images as they were given: a tensor, or MappedImages that have not been loaded."""
        return self.__dict__["_pixels"]

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: Int64[Tensor, " m"] | slice) -> ImageSet:
        """Return the indexed images as an ImageSet; ids, evidence and file names go with them.

        Images in a file stay there until `images` loads the indexed ones.
        """
        evidence = None if self.evidence is None else self.evidence[index]
        names = self.file_names
        if names is not None:
            names = names[index] if isinstance(index, slice) else tuple(names[row] for row in index.tolist())
        pixels = self.pixels.select(index) if isinstance(self.pixels, MappedImages) else self.pixels[index]
        return replace(
            self,
            images=pixels,  # type: ignore[arg-type]  # the descriptor accepts both
            labels=self.labels[index],
            ids=self.ids[index],
            evidence=evidence,
            file_names=names,
        )

    def changed(self, **fields: Any) -> ImageSet:
        """Return a copy with other values of some fields; images in a file stay there."""
        return replace(self, **{"images": self.pixels} | fields)

    def chunks(self, count: int | None = None) -> Iterator[Images]:
        """Yield the pixels of all images in order, uint8 [m 3 h w], at most `count` or `CHUNK_IMAGES` at a time."""
        count = count or CHUNK_IMAGES
        return iter(self.pixels.split(count))

    def image_at(self, row: int) -> UInt8[Tensor, "3 h w"]:
        """Return the pixels of one image, uint8 [3 h w]; the others are not read."""
        return self[torch.tensor([row])].images[0]

    def name_of(self, row: int) -> str:
        """Return the name of an image in messages: its file's name, or the name of the set with the image's id."""
        if self.file_names is not None:
            return self.file_names[row]
        return f"{self.name} {int(self.ids[row])}"

    @property
    def size_px(self) -> tuple[int, int]:
        """Height and width of every image in pixels."""
        return self.pixels.shape[2], self.pixels.shape[3]

    @cached_property
    def mean_and_std(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each colour channel, for pixels in [0, 1], from exact histograms.

        The standard deviation is at least `MIN_STD`, so that normalizing a constant channel gives finite numbers.
        """
        levels = torch.arange(256, dtype=torch.float64) / 255
        histograms = torch.zeros(3, 256, dtype=torch.int64)
        for chunk in self.chunks():
            for channel in range(3):
                histograms[channel] += torch.bincount(chunk[:, channel].flatten(), minlength=256)
        means, stds = [], []
        for counts in histograms.double():
            share = counts / counts.sum()
            mean = (share * levels).sum()
            means.append(float(mean))
            stds.append(max(MIN_STD, float((share * (levels - mean) ** 2).sum().sqrt())))
        return tuple(means), tuple(stds)

    def digest(self) -> str:
        """Return the SHA-256 digest of pixels, labels and class names."""
        sha = hashlib.sha256()
        sha.update(repr((tuple(self.pixels.shape), self.class_names)).encode())
        for chunk in self.chunks():
            sha.update(chunk.contiguous().numpy().data)
        sha.update(self.labels.contiguous().numpy().data)
        return sha.hexdigest()


def split_stratified(images: ImageSet, num_second: int, seed: int) -> tuple[ImageSet, ImageSet]:
    """Split an ImageSet at random into two parts with the same proportions of the classes.

    The class counts of the second part differ from the exact proportion by less than one image; the largest remainders
    are rounded up. Both parts keep the original order.

    Args:
        images: Images to split.
        num_second: Number of images in the second part.
        seed: Seed of the split.

    Returns:
        The first part (train) and the second part (val).

    Raises:
        ValueError: `num_second` is negative or leaves nothing for the first part.

    >>> grey = torch.zeros(10, 3, 1, 1, dtype=torch.uint8)
    >>> whole = ImageSet(grey, torch.tensor([0, 1]).repeat(5), ("cat", "dog"))
    >>> train, val = split_stratified(whole, 4, seed=0)
    >>> val.labels.bincount().tolist(), len(train)
    ([2, 2], 6)
    """
    if not 0 <= num_second < max(len(images), 1):
        raise ValueError(f"cannot take {num_second} of {len(images)} images for validation and leave some to train on")
    counts = torch.bincount(images.labels, minlength=len(images.class_names))
    shares = counts.double() * num_second / max(len(images), 1)
    quotas = shares.floor().long()
    short = num_second - int(quotas.sum())
    quotas[(shares - quotas).argsort(descending=True, stable=True)[:short]] += 1
    is_second = torch.zeros(len(images), dtype=torch.bool)
    draw = generator(seed, 0, "split")
    for label, quota in enumerate(quotas.tolist()):
        members = (images.labels == label).nonzero().flatten()
        is_second[members[torch.randperm(len(members), generator=draw)[:quota]]] = True
    return images[(~is_second).nonzero().flatten()], images[is_second.nonzero().flatten()]


def with_class_names(images: ImageSet, class_names: tuple[str, ...]) -> ImageSet:
    """Return the images with their labels renumbered in the order of other class names.

    Args:
        images: Images, some of whose classes may have no image.
        class_names: Names of the classes in the new order; may contain classes that the images do not have.

    Raises:
        DataError: The images have a class that is not among the names.

    >>> pair = ImageSet(torch.zeros(2, 3, 1, 1, dtype=torch.uint8), torch.tensor([0, 1]), ("cat", "dog"))
    >>> with_class_names(pair, ("dog", "cat")).labels.tolist()
    [1, 0]
    """
    unknown = [name for name in images.class_names if name not in class_names]
    if unknown:
        raise DataError(
            f"{images.name}: has the class {unknown[0]!r}, which the network does not know. Its classes are "
            f"{_listed(class_names)}; rename the class, or leave its images out"
        )
    numbers = torch.tensor([class_names.index(name) for name in images.class_names], dtype=torch.int64)
    return images.changed(labels=numbers[images.labels], class_names=class_names)


def _listed(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more
