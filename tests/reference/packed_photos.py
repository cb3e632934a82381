"""Archives of folders, as people pack them, and as they should not be."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path


def pack(folder: Path, archive: Path, prefix: str = "") -> Path:
    """Pack all files of a folder, below a folder `prefix`, by the suffix of the archive."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = [prefix + path.relative_to(folder).as_posix() for path in files]
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
            for path, name in zip(files, names, strict=True):
                packed.write(path, name)
        return archive
    mode = {".tar": "w:", ".gz": "w:gz", ".tgz": "w:gz", ".bz2": "w:bz2"}[archive.suffix]
    with tarfile.open(archive, mode) as packed:  # type: ignore[call-overload]
        for path, name in zip(files, names, strict=True):
            packed.add(path, name)
    return archive


def zip_of(archive: Path, *entries: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    """Pack these entries, without any check of their names."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in entries:
            packed.writestr(name, content)
    return archive
