"""The data sets by name: where `--data NAME` leads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from firstlight.data.cifar import Split, read_cifar10, read_cifar100
from firstlight.data.download.downloader import is_missing
from firstlight.data.drawn import read_drawn
from firstlight.data.folder.layout import holds_classes
from firstlight.data.folder.reader import read_folder
from firstlight.data.images import ImageSet
from firstlight.errors import DataError, UsageError
from firstlight.paths import DEFAULT_DATA_DIR

FOLDER = "folder"
USUAL = "cifar10"
EMBEDDED = ("drawn", "watermark")


def _cifar10(data_dir: Path, split: Split) -> ImageSet:
    return read_cifar10(data_dir, split)


SOURCES: dict[str, Callable[[Path, Split], ImageSet]] = {
    "cifar10": _cifar10,
    "cifar100": lambda data_dir, split: read_cifar100(data_dir, split),
    "cifar100-coarse": lambda data_dir, split: read_cifar100(data_dir, split, coarse=True),
    "drawn": lambda _, split: read_drawn(split),
    "watermark": lambda _, split: read_drawn(split, watermark=True),
    FOLDER: lambda data_dir, split: read_folder(data_dir, split),
}


def load_split(name: str, data_dir: Path | str, split: Split, image_size: int = 0) -> ImageSet:
    """Load one split of the named data set.

    Args:
        name: a key of `SOURCES`.
        data_dir: where data sets on disk are kept, or the folder of images; the embedded ones need none.
        split: "train" or "test"; validation images are split off "train" by whoever trains.
        image_size: side to which a folder's images are resized, in pixels; 0 leaves it to the data set.

    Raises:
        UsageError: no data set has that name, or its images have another size and are not resized.
        DataError: it is not there, or malformed.
    """
    if name not in SOURCES:
        raise UsageError(f"no data set is called {name!r}: choose one of {', '.join(SOURCES)}")
    if name == FOLDER:
        return read_folder(data_dir, split, image_size)
    images = SOURCES[name](Path(data_dir), split)
    if image_size and images.size_px != (image_size, image_size):
        raise UsageError(
            f"image_size {image_size} is for folders of images: those of {name} are {images.size_px[0]}x"
            f"{images.size_px[1]} pixels"
        )
    return images


def recognize(name: str, data_dir: Path | str, *, is_named: bool = True) -> str:
    """Return the data set that a name and a folder mean together.

    A folder that holds images in a folder per class, and nothing of CIFAR-10, means those images where CIFAR-10, the
    usual data set, would be downloaded into it. Where nobody has named a data set, so does one that holds nothing of
    a recipe's own data set, and one that is named beside an embedded data set, which needs none.

    Args:
        name: a key of `SOURCES`, or any other text, which is returned as it is.
        data_dir: where data sets on disk are kept, or a folder of images.
        is_named: whether the user has named the data set; otherwise it is a default.

    Raises:
        DataError: the folder that is meant is not there, or holds images, but not in a folder per class.
    """
    data_dir = Path(data_dir)
    is_folder_meant = name in EMBEDDED and not is_named and data_dir != Path(DEFAULT_DATA_DIR)
    if is_folder_meant and not data_dir.is_dir():
        raise DataError(f"{data_dir}: no such folder")
    may_be_folder = is_folder_meant or ((name == USUAL or not is_named) and is_missing(name, data_dir))
    return FOLDER if may_be_folder and holds_classes(data_dir) else name
