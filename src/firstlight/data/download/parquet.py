"""Rebuild the official binary batches of CIFAR-10 from parquet files with the same images as PNG; digests decide."""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from firstlight.data.cifar_formats import CIFAR10_CLASSES, PIXEL_BYTES, SIDE_PX
from firstlight.data.download.manifest import Archive
from firstlight.data.safe_unpacking import RefusedError, escaped
from firstlight.errors import DataError, FirstlightError, MissingPackageError
from firstlight.extras import install_command

RECORD_BYTES = 1 + PIXEL_BYTES  # a label, then the red, green and blue values
ROWS_PER_READ = 1000
NAMES_FILE = "batches.meta.txt"
MAX_PNG_BYTES = 1 << 16


def rebuild(archive: Archive, paths: Sequence[Path], data_dir: Path) -> Path:
    """Write the official binary batches from parquet files; the folder appears whole or not at all.

    The rows of all files in order are the images of all batches in order. Each batch must have the official digest, so
    that a single other pixel, label or order is refused.

    Args:
        archive: Description of the official archive, whose members are rebuilt.
        paths: Parquet files, train before test, with a column of PNG images and a column `label`.
        data_dir: Folder in which the archive's folder is created.

    Returns:
        The path of the folder.

    Raises:
        DataError: The files do not hold the official images.
        MissingPackageError: The package `pyarrow` is not installed.
        OSError: The folder cannot be written.
    """
    folder, temporary = data_dir / archive.folder, data_dir / f".{archive.folder}.rebuilding"
    shutil.rmtree(temporary, ignore_errors=True)  # left by a process that was killed
    try:
        temporary.mkdir()
        with _refusals(paths):
            records = _records(paths)
            for name, member in archive.members.items():
                if name == NAMES_FILE:
                    (temporary / name).write_text(
                        "".join(f"{each}\n" for each in CIFAR10_CLASSES) + "\n", encoding="utf-8", newline="\n"
                    )
                    continue
                content = b"".join(islice(records, member.max_bytes // RECORD_BYTES))
                if member.sha256 is None or hashlib.sha256(content).hexdigest() != member.sha256:
                    raise RefusedError(f"the rebuilt {name} is not the official file (sha256 differs)")
                (temporary / name).write_bytes(content)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _records(paths: Sequence[Path]) -> Iterator[bytes]:
    """Yield the record of each row of the files in order."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise MissingPackageError(f"parquet files need the package pyarrow: {install_command('hub')}") from error
    for path in paths:
        with pyarrow.parquet.ParquetFile(path) as file:
            images = next((name for name in ("img", "image") if name in file.schema_arrow.names), None)
            if images is None or "label" not in file.schema_arrow.names:
                raise RefusedError("it has no columns img and label")
            for batch in file.iter_batches(ROWS_PER_READ, columns=[images, "label"]):
                for row in batch.to_pylist():
                    yield _record(row[images]["bytes"], row["label"])


def _record(png: bytes, label: int) -> bytes:
    if len(png) > MAX_PNG_BYTES:
        raise RefusedError(f"an image has {len(png):,} bytes")
    with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
        if image.size != (SIDE_PX, SIDE_PX) or image.mode != "RGB":
            raise RefusedError(f"an image is {image.size[0]}x{image.size[1]} {image.mode}, not 32x32 RGB")
        return bytes([label]) + np.asarray(image).transpose(2, 0, 1).tobytes()


@contextmanager
def _refusals(paths: Sequence[Path]) -> Iterator[None]:
    """Convert any error of a malformed file to a DataError of one line; leave errors of the disk unchanged."""
    names = " and ".join(path.name for path in paths)
    try:
        yield
    except FirstlightError:
        raise
    except RefusedError as error:
        raise DataError(f"{names}: refused: {error}") from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise DataError(f"{names}: refused: damaged ({escaped(str(error))})") from error  # Pillow raises OSError
    except Exception as error:  # pyarrow raises many types
        raise DataError(f"{names}: refused: damaged ({escaped(str(error))})") from error
