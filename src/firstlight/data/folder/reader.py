"""Read a folder that holds one folder of ordinary images per class as an ImageSet."""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Mapping, Sequence

import torch

from firstlight.data.folder.decode_files import stored_size_px
from firstlight.data.folder.decoded_folder import decode
from firstlight.data.folder.layout import FolderSplit, ImageFile, Layout
from firstlight.data.free_memory import fits_in_memory
from firstlight.data.images import ImageSet
from firstlight.data.mapped_images import MappedImages
from firstlight.errors import DataError
from firstlight.paths import printable

SMALL_PX, LARGE_PX = 32, 64  # the default is one of these sizes
NUM_MEASURED = 100  # images that are measured to choose the default size
MAX_NAMED = 10  # files or classes that a message names
IMBALANCE = 2  # ratio of the largest to the smallest class from which an imbalance is reported


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
        DataError: No image of a class can be read.
        WriteError: The images do not fit in memory, and the cache folder cannot be written.
    """
    decoded = decode(layout, size_px)
    _warn_of_unreadable(layout, split, decoded.refusals)
    files = [file for file in layout.files[split] if file.relative_path not in decoded.refusals]
    _refuse_lost_classes(layout, split, files)
    numbers = {name: number for number, name in enumerate(layout.class_names)}
    name = f"{printable(layout.root.resolve().name)} {split}"
    rows = torch.tensor([decoded.row_of[file.relative_path] for file in files], dtype=torch.int64)
    pixels = MappedImages(decoded.pixels, rows)
    return ImageSet(
        images=pixels.load(name) if fits_in_memory(pixels.num_bytes) else pixels,  # type: ignore[arg-type]
        labels=torch.tensor([numbers[file.class_name] for file in files], dtype=torch.int64),
        class_names=layout.class_names,
        name=name,
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


def _refuse_lost_classes(layout: Layout, split: FolderSplit, files: Sequence[ImageFile]) -> None:
    lost = sorted(set(layout.class_names) - {file.class_name for file in files})
    if lost and split == "train":
        raise DataError(f"{layout.root}: no image of {lost[0]!r} can be read. Restore them, or remove that class.")
    if split == "test" and not files:
        raise DataError(f"{layout.root}: no test image can be read. Restore them, or remove the test folder.")


def _warn_of_unreadable(layout: Layout, split: FolderSplit, refusals: Mapping[str, str]) -> None:
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
