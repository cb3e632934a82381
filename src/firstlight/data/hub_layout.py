"""Find the classes and splits of a Hugging Face data set, and read its images: `hf:NAME[:CONFIG]` or `hf:./folder`."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from firstlight.data.folder.layout import FolderSplit, ImageFile, Layout, class_name_of, layout_of, split_named
from firstlight.data.hub_columns import Columns, find_columns
from firstlight.errors import DataError, FirstlightError, MissingPackageError, UsageError
from firstlight.extras import install_command
from firstlight.files import read_bytes
from firstlight.paths import cache_dir, is_offline, printable, user_path

PREFIX = "hf:"
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
BUILDERS = ("parquet", "imagefolder")  # others may unpickle what they read
MAX_FILE_BYTES = 2**30  # of a picture
UNLABELLED = -1
ADVICE = {
    "DatasetNotFoundError": "Check its name; for a private or gated set, log in with `hf auth login`",
    "ConnectionError": "Connect to the network, or name a folder of parquet files: hf:./folder",
    "EmptyDatasetError": "Name a folder that holds parquet files, or one folder of images per class",
    "ValueError": "A configuration is named as hf:NAME:CONFIG",
}


def is_hub_name(name: str) -> bool:
    """Return whether the name of a data set is that of a Hugging Face data set."""
    return name.startswith(PREFIX)


def whole_name(name: str) -> str:
    """Return the name with an absolute path if it names a folder, so that a run finds it from anywhere.

    Raises:
        UsageError: The text after `hf:` names neither a data set nor a folder.

    >>> whole_name("hf:beans"), whole_name("hf:/photos/:small")
    ('hf:beans', 'hf:/photos:small')
    """
    path, _, config = name.removeprefix(PREFIX).partition(":")
    if _is_local(path):
        path = str(user_path(path).absolute())
    elif not HUB_NAME.fullmatch(path):
        raise UsageError(f"{printable(name)!r} names no data set: write hf:NAME, hf:NAME:CONFIG or hf:./folder")
    return PREFIX + path + (f":{config}" if config else "")


def hub_layout(name: str, columns: Columns, *, splits_off_test: bool = True) -> tuple[Layout, str]:
    """Load a data set, and find its classes and splits; the images are read from it when they are decoded.

    Splits are known by their names, as folders are. Without a test split, images are held back as those of a folder.

    Args:
        name: Name from `whole_name`.
        columns: Columns that the user named.
        splits_off_test: See `find_layout`.

    Returns:
        The layout, and a line on the columns and splits that are used.

    Raises:
        MissingPackageError: The package `datasets` is not installed.
        UsageError: A column is missing, holds neither images nor labels, or must be chosen.
        DataError: The data set cannot be loaded, or see `find_layout`.
    """
    with _one_line(name):
        splits, digest, is_imagefolder = _load(name)
        used, skipped = _choose_splits(name, {str(split): rows for split, rows in splits.items()})
        features = used["train"].features
        columns = find_columns(features, columns, name)
        files: dict[FolderSplit, list[ImageFile]] = {}
        for split, rows in used.items():
            found, num_unlabelled = _files_of(rows, columns, str(rows.split), digest, is_imagefolder)
            files[split] = found
            if num_unlabelled:
                skipped.append(f"{num_unlabelled:,} images of {rows.split} without a label")
        order = _class_order(features[columns.label], files)
    layout = layout_of(Path(name), files, skipped, splits_off_test=splits_off_test, order=order)
    held = ", ".join(f"{rows.split} ({len(rows):,})" for rows in used.values())
    return layout, f"{name}: images from column {columns.image!r}, labels from {columns.label!r}; splits {held}"


def _is_local(path: str) -> bool:
    return path.startswith((".", "/", "~")) or os.path.isabs(path)


def _load(name: str) -> tuple[Mapping[str, Any], str, bool]:
    """Return the splits, a digest that changes with the files, and whether rows name image files instead of bytes."""
    try:
        import datasets
        import huggingface_hub
    except ImportError as error:
        raise MissingPackageError(
            f"{name} needs the package datasets: install it with {install_command('hub')}"
        ) from error
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    datasets.utils.logging.set_verbosity_error()
    huggingface_hub.utils.logging.set_verbosity_error()  # retries are no news; their failure is the message
    path, _, config = name.removeprefix(PREFIX).partition(":")
    if _is_local(path) and not Path(path).is_dir():
        raise DataError(f"{name}: no such folder. Name one that holds parquet files")
    with _offline(datasets):
        builder = datasets.load_dataset_builder(path, config or None, cache_dir=str(cache_dir() / "datasets"))
        kind = type(builder).__module__.rpartition(".")[2]
        if kind not in BUILDERS or not type(builder).__module__.startswith("datasets.packaged_modules."):
            raise DataError(f"{name}: holds {kind} files. Only parquet files and folders of images are read")
        builder.download_and_prepare()
        splits = builder.as_dataset()
    return splits, hashlib.sha256(str(builder.cache_dir).encode()).hexdigest(), kind == "imagefolder"


@contextmanager
def _offline(datasets: Any) -> Iterator[None]:
    """Forbid downloads while FIRSTLIGHT_OFFLINE forbids them."""
    import huggingface_hub

    holders = (datasets.config, huggingface_hub.constants)
    before = [holder.HF_HUB_OFFLINE for holder in holders]
    try:
        for holder, value in zip(holders, before, strict=True):
            holder.HF_HUB_OFFLINE = value or is_offline()
        yield
    finally:
        for holder, value in zip(holders, before, strict=True):
            holder.HF_HUB_OFFLINE = value


def _choose_splits(name: str, splits: Mapping[str, Any]) -> tuple[dict[FolderSplit, Any], list[str]]:
    """Return the splits that are used, and a line for each other one."""
    used: dict[FolderSplit, Any] = {}
    skipped = []
    for own, rows in splits.items():
        split = split_named(own) if len(splits) > 1 else "train"
        if split is None:
            skipped.append(f"{own} (neither train nor val nor test)")
        elif split in used:
            raise DataError(f"{name}: {used[split].split} and {own} both name the {split} split")
        else:
            used[split] = rows
    if "train" not in used:
        raise DataError(f"{name}: has the splits {', '.join(splits)}, but none that is called train")
    return used, skipped


def _files_of(
    rows: Any, columns: Columns, split: str, digest: str, is_imagefolder: bool
) -> tuple[list[ImageFile], int]:
    """Return the labelled images of a split, named by their rows, and the number of the others."""
    feature = rows.features[columns.label]
    names = getattr(feature, "names", None)
    labels = rows.data.column(columns.label).to_pylist()
    sizes = _sizes(rows, columns.image)
    encoded = rows.select_columns([columns.image])
    if type(rows.features[columns.image]).__name__ == "Image":
        encoded = encoded.cast_column(columns.image, type(rows.features[columns.image])(decode=False))
    changes_with = int(hashlib.sha256(f"{digest} {split} {columns.image}".encode()).hexdigest()[:15], 16)
    files, width = [], len(str(max(0, len(labels) - 1)))
    for row, label in enumerate(labels):
        if label is None or (names is not None and label == UNLABELLED):
            continue
        class_name = class_name_of(names[label] if names is not None else str(label))
        row_name = f"{split}/{row:0{width}}"
        read = partial(_read, encoded, columns.image, row, is_imagefolder)
        files.append(ImageFile(Path(row_name), row_name, class_name, sizes[row], changes_with, None, read))
    return files, len(labels) - len(files)


def _sizes(rows: Any, column: str) -> list[int]:
    """Return the number of bytes of each image; 0 if it has none."""
    import pyarrow
    import pyarrow.compute

    values = rows.data.column(column)
    if pyarrow.types.is_struct(values.type):
        values = pyarrow.compute.struct_field(values, "bytes")
    return [size or 0 for size in pyarrow.compute.binary_length(values).to_pylist()]


def _read(encoded: Any, column: str, row: int, is_imagefolder: bool) -> bytes:
    """Return the bytes of one image; only a folder of images may name files."""
    value = encoded[row][column]
    content = value.get("bytes") if isinstance(value, Mapping) else value
    if content is None and is_imagefolder and value:
        content = read_bytes(value["path"], MAX_FILE_BYTES)
    if content is None:
        raise DataError("the row holds no image")
    return content


def _class_order(feature: Any, files: Mapping[FolderSplit, list[ImageFile]]) -> list[str]:
    """Return the class names in the order of ClassLabel, of integers, or of the alphabet."""
    if getattr(feature, "names", None) is not None:
        return [class_name_of(name) for name in feature.names]
    found = {file.class_name for each in files.values() for file in each}
    if "int" in str(feature.dtype):
        return sorted(found, key=int)
    return sorted(found)


@contextmanager
def _one_line(name: str) -> Iterator[None]:
    """Convert any error of `datasets` to a DataError of one line with advice."""
    try:
        yield
    except FirstlightError:
        raise
    except Exception as error:  # `datasets` and what it stands on raise many types
        kinds = [kind.__name__ for kind in type(error).__mro__]
        advice = next((ADVICE[kind] for kind in kinds if kind in ADVICE), "Check its files")
        cause = error.__cause__ if "DatasetGenerationError" in kinds and error.__cause__ else error
        first = next(iter(str(cause).strip().splitlines()), type(cause).__name__)
        raise DataError(f"{name}: cannot be loaded: {printable(first)[:300].rstrip('.')}. {advice}.") from error
