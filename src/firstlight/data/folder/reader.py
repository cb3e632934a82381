"""Read a folder that holds one folder of ordinary images per class as an ImageSet."""

from __future__ import annotations

import logging
import os
import statistics
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from firstlight.data.folder.cache import CachedImages, cache_path, key_of, read_cache, write_cache
from firstlight.data.folder.decode_files import decode_files, stored_size_px
from firstlight.data.folder.layout import FolderSplit, ImageFile, Layout
from firstlight.data.images import ImageSet
from firstlight.errors import DataError, FirstlightError
from firstlight.file_lock import locked
from firstlight.paths import printable

SMALL_PX, LARGE_PX = 32, 64  # the default is one of these sizes
NUM_MEASURED = 100  # images that are measured to choose the default size
MAX_NAMED = 10  # files or classes that a message names
MIN_ANNOUNCED = 200  # number of images from which decoding is announced
MAX_MEMORY_SHARE = 0.5  # share of the machine's memory that the images may take
IMBALANCE = 2  # ratio of the largest to the smallest class from which an imbalance is reported

_log = logging.getLogger("firstlight")


def read_split(layout: Layout, split: FolderSplit, size_px: int) -> ImageSet:
    """Read one split of a folder that holds one folder of images per class.

    Every image becomes square: upright, RGB, its largest centred square resized (see `to_pixels`). Files that cannot
    be read are named in a warning and left out. Decoded images are cached for the next time.

    Args:
        layout: Classes, splits and files of the folder, from `open_layout`.
        split: "train", "val" or "test"; "val" is empty if the folder has no such split.
        size_px: Side to which the images are resized.

    Returns:
        An ImageSet; ids are positions among the split's files, ordered by path.

    Raises:
        DataError: No image of a class can be read, or the images do not fit into memory.
    """
    cached, refusals = decode(layout, size_px)
    _warn_of_unreadable(layout, split, refusals)
    files = [file for file in layout.files[split] if file.relative_path not in refusals]
    _refuse_lost_classes(layout, split, files)
    numbers = {name: number for number, name in enumerate(layout.class_names)}
    return ImageSet(
        images=cached.images[torch.tensor([cached.rows[key_of(file)] for file in files], dtype=torch.int64)],
        labels=torch.tensor([numbers[file.class_name] for file in files], dtype=torch.int64),
        class_names=layout.class_names,
        name=f"{printable(layout.root.resolve().name)} {split}",
        file_names=tuple(printable(file.relative_path) for file in files),
    )


def describe_folder(layout: Layout, train: ImageSet) -> list[str]:
    """Return lines that describe a folder before a training: classes, sizes, imbalance and unused files.

    Args:
        layout: Layout of the folder.
        train: Its training images.
    """
    counts = train.labels.bincount(minlength=len(train.class_names))
    few, many = int(counts.argmin()), int(counts.argmax())
    names = ", ".join(layout.class_names[:MAX_NAMED]) + (", ..." if len(layout.class_names) > MAX_NAMED else "")
    chosen = " (a fifth of each class, the same for every seed)" if layout.is_split_here else ""
    size = f"{train.size_px[0]}x{train.size_px[1]}"
    lines = [
        f"{layout.root}: {'a folder for each of ' * layout.root.is_dir()}{len(layout.class_names)} classes ({names})",
        f"images become {size} pixels; {len(layout.files['test']):,} are kept for the test{chosen}",
    ]
    if counts[many] >= IMBALANCE * counts[few]:
        lines.append(
            f"imbalance: {layout.class_names[few]} has {counts[few]:,} training images, {layout.class_names[many]} has "
            f"{counts[many]:,}; always predicting {layout.class_names[many]} would be right for "
            f"{counts[many] / len(train):.0%} of them"
        )
    return lines + [f"not used: {line}" for line in layout.skipped]


def default_size_px(layout: Layout) -> int:
    """Return the default size for the images: the small one unless most images are larger."""
    files = [file for each in layout.files.values() for file in each if file.refusal is None]
    short_sides = [min(size) for size in map(stored_size_px, files[:: max(1, len(files) // NUM_MEASURED)]) if size]
    return SMALL_PX if short_sides and statistics.median(short_sides) <= SMALL_PX * 1.25 else LARGE_PX


def decode(layout: Layout, size_px: int) -> tuple[CachedImages, dict[str, str]]:
    """Return the decoded images of all splits, from the cache if possible, and why the other files cannot be read.

    If several processes need the images, one decodes them and the others wait. If the cache cannot be written, a
    warning says so, and the images are decoded every time.

    Raises:
        DataError: The images do not fit into memory.
    """
    files = [file for each in layout.files.values() for file in each]
    _refuse_too_many(layout.root, len(files), size_px)
    try:
        path: Path | None = cache_path(layout.identity, size_px)
    except RuntimeError as error:  # the home folder is unknown
        path = None
        _warn_of_no_cache(path, str(error))
    before = _cached_in(path, size_px)
    if all(file.refusal is not None or key_of(file) in before.rows for file in files):
        return _complete(before, files, size_px, layout.root)
    with ExitStack() as stack:
        if path is not None:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(locked(path.with_suffix(".lock"), _log_waiting))
            except OSError as error:
                _warn_of_no_cache(path, error.strerror or str(error))
                path = None
        before = _cached_in(path, size_px)  # another process may have been faster
        after, refusals = _complete(before, files, size_px, layout.root)
        if path is not None and after is not before:
            try:
                write_cache(path, after, size_px)
            except (FirstlightError, SafetensorError) as error:
                _warn_of_no_cache(path, str(error))
    return after, refusals


def _cached_in(path: Path | None, size_px: int) -> CachedImages:
    return (
        read_cache(path, size_px) if path else CachedImages({}, torch.empty(0, 3, size_px, size_px, dtype=torch.uint8))
    )


def _log_waiting() -> None:
    _log.info("waiting for another process to decode these images")


def _complete(
    before: CachedImages, files: Sequence[ImageFile], size_px: int, root: Path
) -> tuple[CachedImages, dict[str, str]]:
    """Decode the missing images, and drop those whose files are gone."""
    refusals = {file.relative_path: file.refusal for file in files if file.refusal is not None}
    wanted = [file for file in files if file.refusal is None]
    missing = [file for file in wanted if key_of(file) not in before.rows]
    decoded = _decode_all(missing, size_px, root)
    refusals |= {
        file.relative_path: found for file, found in zip(missing, decoded, strict=True) if isinstance(found, str)
    }
    fresh = {key_of(file): each for file, each in zip(missing, decoded, strict=True) if isinstance(each, Tensor)}
    keys = [key_of(file) for file in wanted if file.relative_path not in refusals]
    if not fresh and len(keys) == len(before.rows):
        return before, refusals
    images = torch.empty(len(keys), 3, size_px, size_px, dtype=torch.uint8)
    for row, key in enumerate(keys):
        images[row] = fresh[key] if key in fresh else before.images[before.rows[key]]
    return CachedImages({key: row for row, key in enumerate(keys)}, images), refusals


def _decode_all(files: Sequence[ImageFile], size_px: int, root: Path) -> list[Tensor | str]:
    if len(files) >= MIN_ANNOUNCED:
        _log.info(f"decoding {len(files):,} images of {root}, once")
    return decode_files(files, size_px)


def _refuse_too_many(root: Path, num_images: int, size_px: int) -> None:
    """Refuse a set of images that does not fit into memory."""
    needed_bytes = num_images * 3 * size_px * size_px
    try:
        memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # not a POSIX system
        return
    if needed_bytes > MAX_MEMORY_SHARE * memory_bytes:
        raise DataError(
            f"{root}: {num_images:,} images of {size_px}x{size_px} pixels take {needed_bytes / 1e9:,.1f} GB, more than "
            f"half of the {memory_bytes / 1e9:,.1f} GB of memory. Choose a smaller --image_size."
        )


def _refuse_lost_classes(layout: Layout, split: FolderSplit, files: Sequence[ImageFile]) -> None:
    lost = sorted(set(layout.class_names) - {file.class_name for file in files})
    if lost and split == "train":
        raise DataError(f"{layout.root}: no image of {lost[0]!r} can be read. Restore them, or remove that class.")
    if split == "test" and not files:
        raise DataError(f"{layout.root}: no test image can be read. Restore them, or remove the test folder.")


def _warn_of_unreadable(layout: Layout, split: FolderSplit, refusals: dict[str, str]) -> None:
    files = layout.files[split]
    named = [
        f"{printable(file.relative_path)}: {refusals[file.relative_path]}"
        for file in files
        if file.relative_path in refusals
    ]
    if not named:
        return
    more = f" and {len(named) - MAX_NAMED:,} more" if len(named) > MAX_NAMED else ""
    warnings.warn(
        f"{layout.root}: {len(named):,} of {len(files):,} {split} images cannot be read and are left out: "
        f"{'; '.join(named[:MAX_NAMED])}{more}",
        stacklevel=3,
    )


def _warn_of_no_cache(path: Path | None, reason: str) -> None:
    where = path.parent if path else "a cache folder"
    warnings.warn(
        f"cannot keep the decoded images in {where} ({reason}): they are decoded every time. "
        "Name another folder in FIRSTLIGHT_CACHE.",
        stacklevel=4,
    )
