"""Read CIFAR-10 and CIFAR-100 from their official files, in the binary or the Python version."""

from __future__ import annotations

import hashlib
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from firstlight.data.cifar_formats import CIFAR10, CIFAR100, CIFAR100_COARSE, Batch, CifarFormat, Split
from firstlight.data.images import ImageSet
from firstlight.errors import DataError
from firstlight.files import read_bytes
from firstlight.paths import user_path

MAX_FILE_BYTES = 2**28  # the largest official file has 155 MB


def read_cifar10(data_dir: Path | str, split: Split) -> ImageSet:
    """Read one split of CIFAR-10 from `data_dir`.

    Looks for `cifar-10-batches-bin`, then for `cifar-10-batches-py`, in `data_dir`; `data_dir` may also be one of
    these folders. Every file is compared with the digest of the official release; a well-formed file with another
    digest is used, with a warning.

    Args:
        data_dir: Folder of the data sets.
        split: "train" (50,000 images) or "test" (10,000).

    Returns:
        An ImageSet of 32x32 images; ids are indices in the official order.

    Raises:
        DataError: A file is missing or malformed; the message names the file and the offset.
    """
    return _read(CIFAR10, user_path(data_dir), split)


def read_cifar100(data_dir: Path | str, split: Split, *, coarse: bool = False) -> ImageSet:
    """Read one split of CIFAR-100 from `cifar-100-binary` or `cifar-100-python`; see `read_cifar10`.

    Args:
        data_dir: Folder of the data sets.
        split: "train" (50,000 images) or "test" (10,000).
        coarse: Label the images with the 20 superclasses instead of the 100 classes.

    Raises:
        DataError: A file is missing or malformed; the message names the file and the offset.
    """
    return _read(CIFAR100_COARSE if coarse else CIFAR100, user_path(data_dir), split)


def _read(formats: tuple[CifarFormat, ...], data_dir: Path, split: Split) -> ImageSet:
    cifar_format, folder = _find(formats, data_dir)
    with ThreadPoolExecutor() as pool:  # hashing and copying release the global interpreter lock
        batches = list(pool.map(lambda name: _read_batch(cifar_format, folder / name), cifar_format.batches[split]))
    return ImageSet(
        images=torch.from_numpy(np.concatenate([pixels for pixels, _ in batches])),
        labels=torch.from_numpy(np.concatenate([labels for _, labels in batches]).astype(np.int64)),
        class_names=_read_class_names(cifar_format, folder / cifar_format.names_file),
        name=f"{cifar_format.data_set} {split}",
    )


def _find(formats: tuple[CifarFormat, ...], data_dir: Path) -> tuple[CifarFormat, Path]:
    for cifar_format in formats:
        for folder in (data_dir / cifar_format.folder, data_dir):
            if (folder / cifar_format.batches["test"][0]).is_file():
                return cifar_format, folder
    expected = " or ".join(str(data_dir / cifar_format.folder) for cifar_format in formats)
    raise DataError(
        f"no {formats[0].data_set} in {data_dir}: expected {expected}. "
        "Unpack the official archive there, name its folder with --data_dir, or use the embedded data (--data drawn)."
    )


def _read_batch(cifar_format: CifarFormat, path: Path) -> Batch:
    content = _read_bytes(path)
    pixels, labels = cifar_format.parse(content, str(path))
    if len(labels) == 0:
        raise DataError(f"{path}: ends at byte {len(content)} without an image. Restore the official file.")
    _compare_digest(cifar_format, path, content)
    return pixels, labels


def _read_bytes(path: Path) -> bytes:
    try:
        return read_bytes(path, MAX_FILE_BYTES)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}. Restore the official file.") from error


def _compare_digest(cifar_format: CifarFormat, path: Path, content: bytes) -> None:
    official = cifar_format.digests.get(path.name)
    found = hashlib.new(cifar_format.algorithm, content, usedforsecurity=False).hexdigest()
    if official is not None and found != official:
        warnings.warn(
            f"{path}: well formed, but not the official release ({cifar_format.algorithm} {found[:12]}..., "
            f"official {official[:12]}...)",
            stacklevel=2,
        )


def _read_class_names(cifar_format: CifarFormat, path: Path) -> tuple[str, ...]:
    if not path.exists():
        return cifar_format.class_names
    content = _read_bytes(path)
    names = cifar_format.parse_names(content, str(path))
    if len(names) != len(cifar_format.class_names):
        raise DataError(
            f"{path}: ends at byte {len(content)} with {len(names)} class names, {cifar_format.data_set} has "
            f"{len(cifar_format.class_names)}. Restore the official file."
        )
    _compare_digest(cifar_format, path, content)
    return tuple(names)
