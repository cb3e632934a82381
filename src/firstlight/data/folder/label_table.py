"""Read a CSV that gives each image file its label, and perhaps its split."""

from __future__ import annotations

import csv
import io
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from firstlight.data.folder.layout import FolderSplit, ImageFile, class_name_of, split_named
from firstlight.data.image_files import refusal_of
from firstlight.data.safe_unpacking import RefusedError, path_inside
from firstlight.errors import DataError
from firstlight.files import read_text
from firstlight.paths import printable

SUFFIX = ".csv"
FILE, LABEL, SPLIT = "file", "label", "split"


def read_label_table(path: Path) -> dict[FolderSplit, list[ImageFile]]:
    """Return the image files of each split that a CSV names.

    The table has a row of column names, `file` and `label`, and perhaps `split` (train, val or test, spelt as folders
    may be); other columns are ignored. Files are named by their paths below the folder of the CSV.

    Args:
        path: Path of the CSV file.

    Raises:
        DataError: The table is malformed, or a row has no label, no split, or a file that is missing, named twice or
            outside of the folder. The message names the line.
    """
    found: dict[FolderSplit, list[ImageFile]] = {}
    lines: dict[str, int] = {}
    for line, row in _rows(path):
        try:
            split, file = _parse(row, path.parent)
            first = lines.setdefault(file.relative_path, line)
            if first != line:
                raise RefusedError(f"{printable(file.relative_path)} is already in line {first}. Keep one of them")
        except RefusedError as error:
            raise DataError(f"{path}: line {line}: {error}.") from error
        found.setdefault(split, []).append(file)
    return found


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, str | None]]]:
    """Yield the number of the line at which each row ends, and the row."""
    try:
        rows = csv.DictReader(io.StringIO(read_text(path, encoding="utf-8-sig"), newline=""), strict=True)
        columns = [str(name) for name in rows.fieldnames or ()]
        missing = [name for name in (FILE, LABEL) if name not in columns]
        if missing or len(set(columns)) < len(columns):
            held = printable(", ".join(columns))[:200] or "none"
            raise DataError(
                f"{path}: needs the columns {FILE} and {LABEL}, and may have {SPLIT}, each once; its columns: {held}. "
                "Name them in the first line."
            )
        for row in rows:
            if None in row:
                raise DataError(f"{path}: line {rows.line_num}: has more values than the first line has columns.")
            yield rows.line_num, row
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: is no CSV file in UTF-8 ({error})") from error


def _parse(row: Mapping[str, str | None], folder: Path) -> tuple[FolderSplit, ImageFile]:
    file, label = row[FILE] or "", (row[LABEL] or "").strip()
    if not file:
        raise RefusedError("names no file")
    if not label:
        raise RefusedError(f"{printable(file)} has no label")
    split: FolderSplit | None = "train"
    if SPLIT in row:
        split = split_named((row[SPLIT] or "").strip())
    if split is None:
        raise RefusedError(f"split {printable(row[SPLIT] or '')!r} of {printable(file)} is not train, val or test")
    return split, _image_file(path_inside(file), folder, class_name_of(label))


def _image_file(relative_path: PurePosixPath, folder: Path, class_name: str) -> ImageFile:
    path = folder / relative_path
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise RefusedError(f"{printable(path)}: no such file that can be read") from error
    if not stat.S_ISREG(status.st_mode):
        raise RefusedError(f"{printable(path)} is not a file")
    return ImageFile(path, relative_path.as_posix(), class_name, status.st_size, status.st_mtime_ns, refusal_of(path))
