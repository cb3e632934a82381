"""Find the classes and splits of images in any form: a folder, an archive of a folder, or a CSV of files and labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from firstlight.data.folder.label_table import SUFFIX, read_label_table
from firstlight.data.folder.layout import ImageFile, Layout, find_layout, holds_classes, layout_of
from firstlight.data.folder.packed import KINDS, kind_of, unpacked
from firstlight.data.image_files import visible_entries
from firstlight.errors import DataError


def open_layout(path: Path, *, splits_off_test: bool = True) -> Layout:
    """Find the classes and splits of the user's own images; an archive is unpacked into the cache folder.

    The images of an archive are split as those of the same folder are. Their names are the paths in the archive.

    Args:
        path: Folder with one folder of images per class, a zip or tar of such a folder, or a CSV of files and labels.
        splits_off_test: See `find_layout`.

    Raises:
        DataError: The archive or the table is refused, or see `find_layout`.
    """
    if path.is_file() and path.suffix.lower() == SUFFIX:
        return layout_of(path, read_label_table(path), splits_off_test=splits_off_test)
    if path.is_file() and kind_of(path):
        return _packed_layout(path, splits_off_test)
    return find_layout(path, splits_off_test=splits_off_test)


def refuse_other_file(path: Path) -> None:
    """Raise DataError if a path is a file that `open_layout` cannot open."""
    if path.is_file() and path.suffix.lower() != SUFFIX and not kind_of(path):
        raise DataError(
            f"{path} is a file; data_dir must be a folder: of data sets, or of one folder per class; or an archive of "
            f"such a folder ({', '.join(KINDS)}), or a {SUFFIX} file of file and label"
        )


def _packed_layout(path: Path, splits_off_test: bool) -> Layout:
    """Find the layout in the unpacked folder; messages name the archive instead of that folder."""
    folder = unpacked(path)
    root = _class_root(folder) or folder
    try:
        layout = find_layout(root, splits_off_test=splits_off_test)
    except DataError as error:
        raise DataError(str(error).replace(str(folder), str(path))) from error
    files = {split: tuple(_renamed(file, folder) for file in each) for split, each in layout.files.items()}
    skipped = tuple(line.replace(str(folder), str(path)) for line in layout.skipped)
    return replace(layout, root=path, files=files, skipped=skipped)


def _renamed(file: ImageFile, folder: Path) -> ImageFile:
    return replace(file, relative_path=file.path.relative_to(folder).as_posix())


def _class_root(folder: Path) -> Path | None:
    """Return the folder that holds the class folders: archives often wrap them in a folder of their own."""
    try:
        if holds_classes(folder):
            return folder
    except DataError:
        pass
    inner = visible_entries(folder)
    return _class_root(inner[0]) if len(inner) == 1 and inner[0].is_dir() else None
