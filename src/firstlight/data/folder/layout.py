"""Which images of a folder belong to which class and to which split.

Either the user has split them, `my_photos/train/cat/1.jpg` with `val` or `test` or both beside `train`, or there are
classes alone, `my_photos/cat/1.jpg`, and the test images are chosen here. A class is a folder; what lies in folders
below it belongs to it, too.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
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
TEST_SHARE = 0.2  # of each class, where the user has made no test folder
MIN_STRAY = 4  # so many images outside of class folders are no accident
_MOST_LOOKED_AT = 10_000  # files of a folder, to find out whether it holds an image


@dataclass(frozen=True)
class ImageFile:
    """One image file of a folder.

    Args:
        path: to open it.
        place: where it is below the folder, with slashes.
        class_name: what is on it.
        size_bytes: of the file.
        modified_ns: when it was last changed.
        refusal: why it cannot be read, as far as that is known without opening it.
    """

    path: Path
    place: str
    class_name: str
    size_bytes: int = 0
    modified_ns: int = 0
    refusal: str | None = None


@dataclass(frozen=True)
class Layout:
    """The image files of a folder.

    Args:
        root: the folder.
        class_names: in alphabetical order.
        files: of each split, in the order of their places; a split that the user has not made is empty.
        is_split_here: whether the test images were chosen here.
        passed_over: what lies in the folder and is used for nothing, a line each.
    """

    root: Path
    class_names: tuple[str, ...]
    files: Mapping[FolderSplit, tuple[ImageFile, ...]]
    is_split_here: bool
    passed_over: tuple[str, ...]


def find_layout(root: Path) -> Layout:
    """Find the classes and splits of a folder.

    Without a test folder, a fifth of each class is chosen for the test by the digests of the files' places: neither
    the seed nor the order on the disk matters, and an image that is added moves hardly any other.

    Args:
        root: the folder.

    Raises:
        DataError: it does not hold two classes or more, a split lacks or adds classes, or there are too few images.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder. Name one that holds a folder of images for each class.")
    passed_over: list[str] = []
    folders = _split_folders(root, passed_over)
    found = {split: _images_of(folder, root, passed_over) for split, folder in folders.items()}
    files = {split: found.get(split, []) for split in ("train", "val", "test")}
    names = _checked_classes(root, files)
    is_split_here = not files["test"]
    if is_split_here:
        files["train"], files["test"] = _split_off_test(root, files["train"])
    ordered = {split: tuple(sorted(each, key=lambda file: file.place)) for split, each in files.items()}
    return Layout(root, names, ordered, is_split_here, tuple(passed_over))  # type: ignore[arg-type]


def holds_classes(root: Path) -> bool:
    """Whether a folder looks like images in a folder per class; looks at as few files as it can.

    Raises:
        DataError: it holds images, but not in a folder per class.
    """
    if not root.is_dir():
        return False
    if any(_split_of(each) == "train" and _num_classes(each) for each in _folders_in(root)):
        return True
    num_classes = _num_classes(root)
    num_stray = sum(_is_image(path) for path in islice(visible_entries(root), _MOST_LOOKED_AT))
    if num_classes == 1 or (num_classes == 0 and num_stray >= MIN_STRAY):
        raise DataError(
            f"{root}: holds images, but not in a folder for each of two classes or more. Sort them into such folders "
            "(my_photos/cat, my_photos/dog), or name another --data_dir."
        )
    return num_classes > 1


def _split_folders(root: Path, passed_over: list[str]) -> dict[FolderSplit, Path]:
    """Return the folder of each split; the root as train where there are classes alone."""
    found: dict[FolderSplit, Path] = {}
    for folder in _folders_in(root):
        split = _split_of(folder)
        if split is None or not _num_classes(folder):
            continue
        if split in found:
            raise DataError(f"{root}: {found[split].name} and {folder.name} both stand for {split}: keep one of them")
        found[split] = folder
    if not found:
        return {"train": root}
    if "train" not in found:
        raise DataError(f"{root}: has {' and '.join(found)} but no train folder with a folder for each class")
    others = [each.name for each in _folders_in(root) if each not in found.values() and _holds_image(each)]
    if others:
        passed_over.append(f"{', '.join(others)} (neither train nor val nor test with a folder for each class)")
    return found


def _split_of(folder: Path) -> FolderSplit | None:
    return next((split for split, names in SPELLINGS.items() if folder.name.casefold() in names), None)


def _images_of(folder: Path, root: Path, passed_over: list[str]) -> list[ImageFile]:
    """Return the images of every class in the folder."""
    num_stray = sum(_is_image(path) for path in visible_entries(folder))
    if num_stray:
        strays = "1 image" if num_stray == 1 else f"{num_stray:,} images"
        passed_over.append(f"{strays} in {folder}, in no class's folder")
    found: list[ImageFile] = []
    for each in _folders_in(folder):
        try:
            images = [_image_file(entry, root, each) for entry in image_files_below(each)]
        except DataError as error:  # lost+found, for instance
            passed_over.append(str(error))
            continue
        if not images:
            passed_over.append(f"{each}, which holds no image")
        found += images
    return found


def _image_file(entry: ImageEntry, root: Path, class_folder: Path) -> ImageFile:
    place, class_name = entry.path.relative_to(root).as_posix(), class_name_of(class_folder)
    if entry.status is None:
        return ImageFile(entry.path, place, class_name, refusal=entry.refusal)
    return ImageFile(entry.path, place, class_name, entry.status.st_size, entry.status.st_mtime_ns, entry.refusal)


def class_name_of(folder: Path) -> str:
    """Return a folder's name as text that can be shown, in composed form: systems differ in how they store accents.

    >>> class_name_of(Path("cafe" + chr(0x301)))
    'café'
    """
    return unicodedata.normalize("NFC", printable(folder.name))


def _checked_classes(root: Path, files: Mapping[str, list[ImageFile]]) -> tuple[str, ...]:
    names = sorted({each.class_name for each in files["train"]})
    if len(names) < 2:
        held = f"images of {names[0]!r} alone" if names else "no folder of images"
        raise DataError(f"{root}: holds {held}; make a folder of images for each of two classes or more in it.")
    for split in ("val", "test"):
        others = sorted({each.class_name for each in files[split]} - set(names))
        if others:
            raise DataError(f"{root}: {split} has {_listed(others)}, which train has not. Add it there, or remove it.")
    return tuple(names)


def _split_off_test(root: Path, files: list[ImageFile]) -> tuple[list[ImageFile], list[ImageFile]]:
    """Return train and test: of each class the files whose places have the smallest digests become test."""
    classes: dict[str, list[ImageFile]] = defaultdict(list)
    for each in sorted(files, key=_rank):
        classes[each.class_name].append(each)
    single = sorted(name for name, members in classes.items() if len(members) == 1)
    if single:
        raise DataError(f"{root}: there is only one image of {_listed(single)}. Add some: two are the least.")
    train, test = [], []
    for members in classes.values():
        num_test = int(len(members) * TEST_SHARE + 0.5)
        test += members[:num_test]
        train += members[num_test:]
    if not test:
        raise DataError(f"{root}: two images of each class leave none for the test. Add some: three are the least.")
    return train, test


def _rank(file: ImageFile) -> bytes:
    place = unicodedata.normalize("NFC", file.place)  # some systems store names decomposed
    return hashlib.sha256(place.encode("utf-8", "surrogateescape")).digest()


def _listed(names: Iterable[str], at_most: int = 5) -> str:
    names = list(names)
    more = [f"{len(names) - at_most} more"] if len(names) > at_most else []
    return ", ".join([*(repr(name) for name in names[:at_most]), *more])


def _num_classes(folder: Path) -> int:
    """How many of its folders hold an image; counts no further than 2."""
    return len(list(islice((each for each in _folders_in(folder) if _holds_image(each)), 2)))


def _holds_image(folder: Path) -> bool:
    try:
        return next(image_files_below(folder, _MOST_LOOKED_AT), None) is not None
    except DataError:
        return False


def _folders_in(folder: Path) -> list[Path]:
    return [each for each in visible_entries(folder) if os.path.isdir(each)]


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()
