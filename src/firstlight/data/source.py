"""Open a data set of any kind: `open_source(name, data_dir)` returns a `Source`."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from jaxtyping import Float64
from torch import Tensor

from firstlight.data.cifar import Split, read_cifar10, read_cifar100
from firstlight.data.download.downloader import fetch_missing, is_missing
from firstlight.data.drawn import EMBEDDED_NAMES, WATERMARK_NAME, read_drawn
from firstlight.data.folder.file_attributes import file_attributes
from firstlight.data.folder.image_size import check_image_size
from firstlight.data.folder.layout import FolderSplit, Layout, holds_classes
from firstlight.data.folder.open_layout import open_layout, refuse_other_file
from firstlight.data.folder.reader import default_size_px, describe_folder, read_split
from firstlight.data.hub_columns import Columns
from firstlight.data.hub_layout import PREFIX, hub_layout, is_hub_name, whole_name
from firstlight.data.images import ImageSet
from firstlight.errors import DataError, UsageError
from firstlight.paths import DEFAULT_DATA_DIR, user_path

_log = logging.getLogger("firstlight")

FOLDER_NAME = "folder"
DEFAULT_NAME = "cifar10"


class Source(ABC):
    """A data set opened by `open_source`.

    `train`, `val` and `test` read the images anew at each call, so that a source itself holds no images.

    Args:
        name: Name of the data set, a key of `SOURCES`.
        data_dir: Folder that holds data sets on disk, or a folder of images.
        image_size: Side in pixels to which images are resized; 0 keeps the data set's own size.

    Attributes:
        adapts_recipe: Whether a training must adapt its recipe to the number and the size of the images.
        columns: Columns of the table of images that the user named.
        may_hold_copies: Whether two images may have the same pixels; False if each is drawn at random.
    """

    adapts_recipe = False
    may_hold_copies = True

    columns = Columns()

    def __init__(self, name: str, data_dir: Path, image_size: int = 0) -> None:
        self.name = name
        self.data_dir = data_dir
        self.image_size = image_size

    def fetch(self) -> None:
        """Download the data set if it can be downloaded and is not in `data_dir`.

        Raises:
            DataError: The download failed. The message lists what was tried and what to do.
        """
        fetch_missing(self.name, self.data_dir)

    def train(self) -> ImageSet:
        """Read the training images, including those that the caller may split off for validation.

        Raises:
            UsageError: The images do not have the requested size and cannot be resized.
            DataError: The data set is missing or malformed.
        """
        return self.read("train")

    def val(self) -> ImageSet | None:
        """Read the data set's own validation images; None if it has none."""
        return None

    def test(self) -> ImageSet:
        """Read the test images; raises as `train` does."""
        return self.read("test")

    def external_test(self) -> ImageSet:
        """Read the images on which a network from another data set is tested; raises as `train` does."""
        return self.test()

    @abstractmethod
    def read(self, split: Split) -> ImageSet:
        """Read one split, "train" or "test"; raises as `train` does."""

    def remarks(self, train: ImageSet) -> list[str]:  # noqa: ARG002  # other kinds have remarks
        """Return what the user should know before training on `train`, one line each."""
        return []

    def file_attributes(self, images: ImageSet) -> dict[str, Float64[Tensor, " n"]]:  # noqa: ARG002
        """Return attributes of the images' files by name, float64 [n] each; empty if images have no files of their own.

        Args:
            images: Images that this source has read.
        """
        return {}

    def describe(self) -> dict[str, str]:
        """Return the entries "name" and "place" of the data set in `environment.json`."""
        return {"name": self.name, "place": str(self.data_dir.absolute())}


class _FixedSizeSource(Source):
    """A data set whose images all have the same size and are not resized."""

    def read(self, split: Split) -> ImageSet:
        """Read one split, "train" or "test"."""
        images = self._read(split)
        if self.image_size and images.size_px != (self.image_size, self.image_size):
            raise UsageError(
                f"image_size {self.image_size} is for folders of images: those of {self.name} are "
                f"{images.size_px[0]}x{images.size_px[1]} pixels. Leave image_size at 0."
            )
        return images

    @abstractmethod
    def _read(self, split: Split) -> ImageSet: ...


class CifarSource(_FixedSizeSource):
    """CIFAR-10, or CIFAR-100 with its classes or superclasses, from the official files in `data_dir`."""

    def _read(self, split: Split) -> ImageSet:
        if self.name == "cifar10":
            return read_cifar10(self.data_dir, split)
        return read_cifar100(self.data_dir, split, coarse=self.name == "cifar100-coarse")


class DrawnSource(_FixedSizeSource):
    """The embedded data set, with or without the watermark; `data_dir` is not used."""

    may_hold_copies = False

    def _read(self, split: Split) -> ImageSet:
        return read_drawn(split, watermark=self.name == WATERMARK_NAME)


class FunctionSource(_FixedSizeSource):
    """A data set that a function of `data_dir` and the split reads."""

    def __init__(self, name: str, data_dir: Path, image_size: int, function: Callable[[Path, Split], ImageSet]) -> None:
        super().__init__(name, data_dir, image_size)
        self._function = function

    def _read(self, split: Split) -> ImageSet:
        return self._function(self.data_dir, split)


class FolderSource(Source):
    """The user's own images: `data_dir` is a folder of class folders, an archive of it, or a CSV of files and labels.

    The layout is read once, at the first use, so that all splits come from the same listing of its files.

    Raises:
        UsageError: `image_size` is not a size that the networks can take.
    """

    adapts_recipe = True

    def __init__(self, name: str, data_dir: Path, image_size: int = 0) -> None:
        check_image_size(image_size)
        super().__init__(name, data_dir, image_size)

    @cached_property
    def layout(self) -> Layout:
        """The classes, splits and files."""
        return open_layout(self.data_dir)

    @cached_property
    def size_px(self) -> int:
        """Side of the images after resizing, in pixels."""
        return self.image_size or default_size_px(self.layout)

    def val(self) -> ImageSet | None:
        """Read the images of the folder's own val split; None if it has none."""
        images = self.read("val")
        return images if len(images) else None

    def read(self, split: FolderSplit) -> ImageSet:
        """Read one split, "train", "val" or "test", and warn of the files that cannot be read."""
        return read_split(self.layout, split, self.size_px)

    def external_test(self) -> ImageSet:
        """Read the test split, or all images if the folder has no test split."""
        return read_split(open_layout(self.data_dir, splits_off_test=False), "test", self.size_px)

    def remarks(self, train: ImageSet) -> list[str]:
        """Return lines on the classes, the sizes of the splits, an imbalance of the classes and the unused files."""
        return describe_folder(self.layout, train)

    def file_attributes(self, images: ImageSet) -> dict[str, Float64[Tensor, " n"]]:
        """Return the size of each file and the original resolution of each image."""
        return file_attributes(self.layout, images)

    def describe(self) -> dict[str, str]:
        """Return the folder's own name and its path."""
        return super().describe() | {"name": self.data_dir.resolve().name}


class HubSource(FolderSource):
    """A Hugging Face data set, from the hub or from a folder of parquet files; `data_dir` is not used.

    Args:
        name: Name from `whole_name`.
        data_dir: Kept for messages.
        image_size: Side in pixels to which images are resized; 0 chooses it from the images.
        columns: Columns that the user named.
    """

    def __init__(self, name: str, data_dir: Path, image_size: int = 0, columns: Columns = Columns()) -> None:
        super().__init__(name, data_dir, image_size)
        self.columns = columns

    @cached_property
    def layout(self) -> Layout:
        """The classes, splits and images; logs which columns are used."""
        layout, line = hub_layout(self.name, self.columns)
        _log.info(line)
        return layout

    def external_test(self) -> ImageSet:
        """Read the test split, or all images if the data set has no test split."""
        layout, line = hub_layout(self.name, self.columns, splits_off_test=False)
        _log.info(line)
        return read_split(layout, "test", self.size_px)

    def describe(self) -> dict[str, str]:
        """Return the name without the prefix, and with the prefix as the place."""
        path = self.name.removeprefix(PREFIX)
        return {"name": Path(path).name if Path(path).is_absolute() else path, "place": self.name}


SOURCES: dict[str, type[Source] | Callable[[Path, Split], ImageSet]] = {
    "cifar10": CifarSource,
    "cifar100": CifarSource,
    "cifar100-coarse": CifarSource,
    **dict.fromkeys(EMBEDDED_NAMES, DrawnSource),
    FOLDER_NAME: FolderSource,
}
"""The data sets by name: a subclass of `Source`, or a function that reads a split."""


def open_source(
    name: str,
    data_dir: Path | str = DEFAULT_DATA_DIR,
    image_size: int = 0,
    *,
    is_named: bool = True,
    columns: Columns = Columns(),
) -> Source:
    """Open a data set without reading it.

    If `data_dir` holds images in one folder per class, these images replace `name` in three cases: `name` is CIFAR-10,
    the default, and no part of it is in `data_dir`; the user named no data set, and no part of the default one is in
    `data_dir`; the user named no data set, and the default one is embedded. The `name` of the returned source says
    which data set it is. An archive of such a folder, or a CSV of files and labels, replaces `name` unless the user
    named another data set than CIFAR-10.

    Args:
        name: Name of the data set, a key of `SOURCES` or `hf:NAME`.
        data_dir: Folder that holds data sets on disk, or a folder of images, an archive of it or a CSV.
        image_size: Side in pixels to which a folder's images are resized; 0 keeps the data set's own size.
        is_named: Whether the user named the data set; otherwise `name` is a default.
        columns: Columns of a Hugging Face data set that the user named.

    Raises:
        UsageError: No data set has that name, or `columns` are named for another kind of data set.
        DataError: `data_dir` is another file, does not exist, or holds images that are not sorted into one folder per
            class.

    >>> source = open_source("drawn")
    >>> len(source.test()), source.val() is None
    (2000, True)
    """
    data_dir = user_path(data_dir)
    if is_hub_name(name) and (is_named or not (data_dir.is_file() or holds_classes(data_dir))):
        return HubSource(whole_name(name), data_dir, image_size, columns)
    refuse_other_file(data_dir)
    if any(columns):
        raise UsageError("image_column and label_column are for Hugging Face data sets: --data hf:NAME")
    name = FOLDER_NAME if _is_folder_meant(name, data_dir, is_named) else name
    if name not in SOURCES:
        raise UsageError(f"no data set is called {name!r}: choose one of {', '.join(SOURCES)}, or hf:NAME")
    kind = SOURCES[name]
    if isinstance(kind, type):
        return kind(name, data_dir, image_size)
    return FunctionSource(name, data_dir, image_size, kind)


def _is_folder_meant(name: str, data_dir: Path, is_named: bool) -> bool:
    """Return whether `data_dir` has images that replace the data set `name`; see `open_source`."""
    if data_dir.is_file():
        if is_named and name not in (DEFAULT_NAME, FOLDER_NAME):
            raise DataError(f"{data_dir} is a file of images, not a folder with {name}. Leave out one of the two.")
        return True
    if name in EMBEDDED_NAMES and not is_named and data_dir != Path(DEFAULT_DATA_DIR):
        if not data_dir.is_dir():
            raise DataError(f"{data_dir}: no such folder. Give the folder of your images with --data_dir.")
        return holds_classes(data_dir)
    if is_hub_name(name):
        return True
    may_be_replaced = (name == DEFAULT_NAME or not is_named) and is_missing(name, data_dir)
    return may_be_replaced and holds_classes(data_dir)
