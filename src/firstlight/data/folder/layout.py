"""Find the classes and the splits of a folder of images.

Either the user has split the images (`my_photos/train/cat/1.jpg`, with `val` or `test` beside `train`), or the folder
holds only class folders (`my_photos/cat/1.jpg`), and this module chooses the test images. A class is a folder; images
in its subfolders belong to the class.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from firstlight.data.image_files import SUFFIXES, ImageEntry, image_files_below, visible_entries
from firstlight.errors import DataError
from firstlight.paths import printable

FolderSplit = Literal["train", "val", "test"]
SPELLINGS: dict[FolderSplit, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
TEST_SHARE = 0.2  # share of each class that becomes the test split if there is no test folder
MIN_STRAY = 4  # number of images outside of class folders from which a folder counts as unsorted
_MAX_ENTRIES = 10_000  # largest number of files that are searched for an image


@dataclass(frozen=True)
class ImageFile:
    """One image file of a folder.

    Args:
        path: Path of the file.
        relative_path: Path below the folder, with slashes.
        class_name: Name of its class.
        size_bytes: Size of the file.
        modified_ns: Modification time in nanoseconds.
        refusal: Why the file cannot be read, if this is known without opening it; otherwise None.
        read: Function that returns the content of an image that is no file of its own; None reads `path`.
    """

    path: Path
    relative_path: str
    class_name: str
    size_bytes: int = 0
    modified_ns: int = 0
    refusal: str | None = None
    read: Callable[[], bytes] | None = None


@dataclass(frozen=True)
class Layout:
    """The image files of a folder.

    Args:
        root: Path of the folder; or the name of a data set that is none.
        class_names: Names of the classes, for a folder in alphabetical order.
        files: Files of each split, sorted by their relative paths; a split without a folder is empty.
        is_split_here: Whether `find_layout` chose the test images.
        skipped: A line for each part of the folder that is not used.
    """

    root: Path
    class_names: tuple[str, ...]
    files: Mapping[FolderSplit, tuple[ImageFile, ...]]
    is_split_here: bool
    skipped: tuple[str, ...]

    @property
    def identity(self) -> Path:
        """Absolute path that identifies the images; the name of a data set does not depend on the current folder."""
        return self.root.resolve() if self.root.exists() else Path(os.sep, self.root)


def find_layout(root: Path, *, splits_off_test: bool = True) -> Layout:
    """Find the classes and splits of a folder.

    Without a test folder, a fifth of each class becomes the test split, chosen by the digests of the relative paths.
    Neither the seed nor the order on the disk matters, and an added image moves at most one other image.

    Args:
        root: Path of the folder.
        splits_off_test: Whether to split off test images if there is no test folder; otherwise the test split contains
            all training images.

    Raises:
        DataError: The folder holds fewer than two classes or too few images, or a split has a class that train lacks.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder. Name one that holds a folder of images for each class.")
    skipped: list[str] = []
    folders = _split_folders(root, skipped)
    found = {split: _images_of(folder, root, skipped) for split, folder in folders.items()}
    return layout_of(root, found, skipped, splits_off_test=splits_off_test)


def layout_of(
    root: Path,
    found: Mapping[FolderSplit, list[ImageFile]],
    skipped: Iterable[str] = (),
    *,
    splits_off_test: bool = True,
    order: Sequence[str] | None = None,
) -> Layout:
    """Check the classes of image files, and split off a test; see `find_layout`.

    Args:
        root: Path that messages name.
        found: Image files of each split; a split may be missing.
        skipped: A line for each part that is not used.
        splits_off_test: See `find_layout`.
        order: Order of the class names; None for the alphabetical one.
    """
    files = {split: found.get(split, []) for split in SPELLINGS}
    names = _checked_classes(root, files)
    is_split_here = splits_off_test and not files["test"]
    if not splits_off_test:
        files["test"] = files["test"] or files["train"]
    elif is_split_here:
        files["train"], files["test"] = _split_off_test(root, files["train"])
    ordered = {split: tuple(sorted(each, key=lambda file: file.relative_path)) for split, each in files.items()}
    names = names if order is None else tuple(name for name in order if name in names)
    return Layout(root, names, ordered, is_split_here, tuple(skipped))


def holds_classes(root: Path) -> bool:
    """Return whether a folder holds one folder of images per class; looks at no more files than necessary.

    Raises:
        DataError: The folder holds images, but not in one folder per class.
    """
    if not root.is_dir():
        return False
    if any(split_named(each.name) == "train" and _num_classes(each) for each in _folders_in(root)):
        return True
    num_classes = _num_classes(root)
    num_stray = sum(_is_image(path) for path in islice(visible_entries(root), _MAX_ENTRIES))
    if num_classes == 1 or (num_classes == 0 and num_stray >= MIN_STRAY):
        raise DataError(
            f"{root}: holds images, but not in a folder for each of two classes or more. Sort them into such folders "
            "(my_photos/cat, my_photos/dog), or name another --data_dir."
        )
    return num_classes > 1


def _split_folders(root: Path, skipped: list[str]) -> dict[FolderSplit, Path]:
    """Return the folder of each split; the root as train if it holds only class folders."""
    found: dict[FolderSplit, Path] = {}
    for folder in _folders_in(root):
        split = split_named(folder.name)
        if split is None or not _num_classes(folder):
            continue
        if split in found:
            raise DataError(f"{root}: {found[split].name} and {folder.name} both name the {split} split: keep one")
        found[split] = folder
    if not found:
        return {"train": root}
    if "train" not in found:
        raise DataError(f"{root}: has {' and '.join(found)} but no train folder with a folder for each class")
    others = [each.name for each in _folders_in(root) if each not in found.values() and _holds_image(each)]
    if others:
        skipped.append(f"{', '.join(others)} (neither train nor val nor test with a folder for each class)")
    return found


def split_named(name: str) -> FolderSplit | None:
    """Return the split that a folder of this name holds; None if it is no such name.

    >>> split_named("Validation"), split_named("cat")
    ('val', None)
    """
    return next((split for split, names in SPELLINGS.items() if name.casefold() in names), None)


def _images_of(folder: Path, root: Path, skipped: list[str]) -> list[ImageFile]:
    """Return the images of every class in the folder."""
    num_stray = sum(_is_image(path) for path in visible_entries(folder))
    if num_stray:
        strays = "1 image" if num_stray == 1 else f"{num_stray:,} images"
        skipped.append(f"{strays} in {folder}, outside of the class folders")
    found: list[ImageFile] = []
    for each in _folders_in(folder):
        try:
            images = [_image_file(entry, root, each) for entry in image_files_below(each)]
        except DataError as error:  # lost+found, for instance
            skipped.append(str(error))
            continue
        if not images:
            skipped.append(f"{each}, which holds no image")
        found += images
    return found


def _image_file(entry: ImageEntry, root: Path, class_folder: Path) -> ImageFile:
    relative_path, class_name = entry.path.relative_to(root).as_posix(), class_name_of(class_folder.name)
    if entry.status is None:
        return ImageFile(entry.path, relative_path, class_name, refusal=entry.refusal)
    size_bytes, modified_ns = entry.status.st_size, entry.status.st_mtime_ns
    return ImageFile(entry.path, relative_path, class_name, size_bytes, modified_ns, entry.refusal)


def class_name_of(name: str) -> str:
    """Return the name of a folder as printable text in composed form, because systems store accents differently.

    >>> class_name_of("cafe" + chr(0x301))
    'café'
    """
    return unicodedata.normalize("NFC", printable(name))


def _checked_classes(root: Path, files: Mapping[FolderSplit, list[ImageFile]]) -> tuple[str, ...]:
    names = sorted({each.class_name for each in files["train"]})
    if len(names) < 2:
        held = f"only images of {names[0]!r}" if names else "no folder of images"
        raise DataError(f"{root}: holds {held}. Add a folder of images for each class, at least two.")
    for split in tuple(SPELLINGS)[1:]:
        others = sorted({each.class_name for each in files[split]} - set(names))
        if others:
            raise DataError(
                f"{root}: {split} has {_listed(others)}, which is not in train. Add it there, or remove it."
            )
    return tuple(names)


def _split_off_test(root: Path, files: list[ImageFile]) -> tuple[list[ImageFile], list[ImageFile]]:
    """Return train and test; the files of each class whose relative paths have the smallest digests become test."""
    classes: dict[str, list[ImageFile]] = defaultdict(list)
    for each in sorted(files, key=_rank):
        classes[each.class_name].append(each)
    single = sorted(name for name, members in classes.items() if len(members) == 1)
    if single:
        raise DataError(f"{root}: there is only one image of {_listed(single)}. Add more: a class needs at least two.")
    train, test = [], []
    for members in classes.values():
        num_test = int(len(members) * TEST_SHARE + 0.5)
        test += members[:num_test]
        train += members[num_test:]
    if not test:
        raise DataError(
            f"{root}: two images of each class leave none for the test. Add more: at least one class needs three."
        )
    return train, test


def _rank(file: ImageFile) -> bytes:
    relative_path = unicodedata.normalize("NFC", file.relative_path)  # some systems store names decomposed
    return hashlib.sha256(relative_path.encode("utf-8", "surrogateescape")).digest()


def _listed(names: Iterable[str], at_most: int = 5) -> str:
    names = list(names)
    more = [f"{len(names) - at_most} more"] if len(names) > at_most else []
    return ", ".join([*(repr(name) for name in names[:at_most]), *more])


def _num_classes(folder: Path) -> int:
    """Return the number of subfolders that hold an image; counts at most 2."""
    return len(list(islice((each for each in _folders_in(folder) if _holds_image(each)), 2)))


def _holds_image(folder: Path) -> bool:
    try:
        return next(image_files_below(folder, _MAX_ENTRIES), None) is not None
    except DataError:
        return False


def _folders_in(folder: Path) -> list[Path]:
    return [each for each in visible_entries(folder) if os.path.isdir(each)]


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()
