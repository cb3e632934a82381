"""The data sets by name: where `--data NAME` leads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from firstlight.data.cifar import Split, read_cifar10
from firstlight.data.drawn import read_drawn
from firstlight.data.images import ImageSet
from firstlight.errors import UsageError


def _cifar10(data_dir: Path, split: Split) -> ImageSet:
    return read_cifar10(data_dir, split)


SOURCES: dict[str, Callable[[Path, Split], ImageSet]] = {
    "cifar10": _cifar10,
    "drawn": lambda _, split: read_drawn(split),
    "watermark": lambda _, split: read_drawn(split, watermark=True),
}


def load_split(name: str, data_dir: Path | str, split: Split) -> ImageSet:
    """Load one split of the named data set.

    Args:
        name: a key of `SOURCES`.
        data_dir: where data sets on disk are kept; the embedded ones need none.
        split: "train" or "test"; validation images are split off "train" by whoever trains.

    Raises:
        UsageError: no data set has that name.
        DataError: it is not there, or malformed.
    """
    if name not in SOURCES:
        raise UsageError(f"no data set is called {name!r}: choose one of {', '.join(SOURCES)}")
    return SOURCES[name](Path(data_dir), split)
