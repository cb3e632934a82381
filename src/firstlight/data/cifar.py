"""Read CIFAR-10 and CIFAR-100 from their official files, in the binary or the Python version."""

from __future__ import annotations

import hashlib
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from firstlight.data.cifar_formats import CIFAR10, CIFAR100, CIFAR100_COARSE, Batch, Form, Split
from firstlight.data.images import ImageSet
from firstlight.errors import DataError
from firstlight.paths import user_path


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


def _read(forms: tuple[Form, ...], data_dir: Path, split: Split) -> ImageSet:
    form, folder = _find(forms, data_dir)
    with ThreadPoolExecutor() as pool:  # hashing and copying release Python's global lock
        batches = list(pool.map(lambda name: _read_batch(form, folder / name), form.batches[split]))
    return ImageSet(
        images=torch.from_numpy(np.concatenate([pixels for pixels, _ in batches])),
        labels=torch.from_numpy(np.concatenate([labels for _, labels in batches]).astype(np.int64)),
        class_names=_read_class_names(form, folder / form.names_file),
        name=f"{form.data_set} {split}",
    )


def _find(forms: tuple[Form, ...], data_dir: Path) -> tuple[Form, Path]:
    for form in forms:
        for folder in (data_dir / form.folder, data_dir):
            if (folder / form.batches["test"][0]).is_file():
                return form, folder
    expected = " or ".join(str(data_dir / form.folder) for form in forms)
    raise DataError(
        f"no {forms[0].data_set} in {data_dir}: expected {expected}. "
        "Unpack the official archive there, name its folder with --data_dir, or use the embedded data (--data drawn)."
    )


def _read_batch(form: Form, path: Path) -> Batch:
    content = _read_bytes(path)
    pixels, labels = form.parse(content, str(path))
    if len(labels) == 0:
        raise DataError(f"{path}: ends at byte {len(content)} without an image. Restore the official file.")
    _compare_digest(form, path, content)
    return pixels, labels


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}. Restore the official file.") from error


def _compare_digest(form: Form, path: Path, content: bytes) -> None:
    official = form.digests.get(path.name)
    found = hashlib.new(form.algorithm, content, usedforsecurity=False).hexdigest()
    if official is not None and found != official:
        warnings.warn(
            f"{path}: well formed, but not the official release ({form.algorithm} {found[:12]}..., "
            f"official {official[:12]}...)",
            stacklevel=2,
        )


def _read_class_names(form: Form, path: Path) -> tuple[str, ...]:
    if not path.exists():
        return form.class_names
    content = _read_bytes(path)
    names = form.parse_names(content, str(path))
    if len(names) != len(form.class_names):
        raise DataError(
            f"{path}: ends at byte {len(content)} with {len(names)} class names, {form.data_set} has "
            f"{len(form.class_names)}. Restore the official file."
        )
    _compare_digest(form, path, content)
    return tuple(names)
