"""CIFAR-10 from its official files, the binary version or the Python version.

(Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images".)
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from firstlight.data.images import ImageSet
from firstlight.data.pickles import read_pickled_dict
from firstlight.errors import DataError

Split = Literal["train", "test"]
Batch = tuple[np.ndarray, np.ndarray]  # pixels uint8 [n 3 32 32], labels uint8 [n]

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SIDE_PX = 32
PIXEL_BYTES = 3 * SIDE_PX * SIDE_PX
RECORD_BYTES = 1 + PIXEL_BYTES

BINARY_SHA256 = {
    "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}
PYTHON_MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
    "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
}


@dataclass(frozen=True)
class _Version:
    """One of the two published forms of the data set."""

    folder: str
    suffix: str
    meta: str
    algorithm: str
    digests: dict[str, str]
    parse: Callable[[bytes, str], Batch]
    parse_meta: Callable[[bytes, str], list[str]]


def read_cifar10(data_dir: Path | str, split: Split) -> ImageSet:
    """Read one split of CIFAR-10 from `data_dir`.

    Looks for `cifar-10-batches-bin`, then for `cifar-10-batches-py`, in `data_dir`; `data_dir` may also be one of
    these folders. Every file is compared with the digest of the official release; well-formed
    files that differ are used all the same, with a warning.

    Args:
        data_dir: where the data sets are kept.
        split: "train" (50,000 images) or "test" (10,000).

    Returns:
        An ImageSet of 32x32 images; ids are positions in the official order.

    Raises:
        DataError: the files are not there, or malformed; names the file and the offset.
    """
    version, folder = _find(Path(data_dir))
    names = [f"data_batch_{i}" for i in range(1, 6)] if split == "train" else ["test_batch"]
    with ThreadPoolExecutor() as pool:  # hashing and copying release Python's global lock
        batches = list(pool.map(lambda name: _read_batch(version, folder / (name + version.suffix)), names))
    return ImageSet(
        images=torch.from_numpy(np.concatenate([pixels for pixels, _ in batches])),
        labels=torch.from_numpy(np.concatenate([labels for _, labels in batches]).astype(np.int64)),
        class_names=_read_class_names(version, folder / version.meta),
        name=f"CIFAR-10 {split}",
    )


def _find(data_dir: Path) -> tuple[_Version, Path]:
    for version in (_BINARY, _PYTHON):
        for folder in (data_dir / version.folder, data_dir):
            if (folder / ("test_batch" + version.suffix)).is_file():
                return version, folder
    raise DataError(
        f"no CIFAR-10 in {data_dir}: expected {data_dir / _BINARY.folder} or {data_dir / _PYTHON.folder}. "
        "Unpack the official archive there, give its place with --data_dir, or use the embedded data (--data drawn)."
    )


def _read_batch(version: _Version, path: Path) -> Batch:
    content = _read_bytes(path)
    pixels, labels = version.parse(content, str(path))
    if len(labels) == 0:
        raise DataError(f"{path}: ends at byte {len(content)} without an image. Restore the official file.")
    _compare_digest(version, path, content)
    return pixels, labels


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}. Restore the official file.") from error


def _compare_digest(version: _Version, path: Path, content: bytes) -> None:
    official = version.digests.get(path.name)
    found = hashlib.new(version.algorithm, content, usedforsecurity=False).hexdigest()
    if official is not None and found != official:
        warnings.warn(
            f"{path}: well formed, but not the official release ({version.algorithm} {found[:12]}..., "
            f"official {official[:12]}...)",
            stacklevel=2,
        )


def _read_class_names(version: _Version, path: Path) -> tuple[str, ...]:
    if not path.exists():
        return CIFAR10_CLASSES
    content = _read_bytes(path)
    names = version.parse_meta(content, str(path))
    if len(names) != len(CIFAR10_CLASSES):
        raise DataError(
            f"{path}: ends at byte {len(content)} with {len(names)} class names, CIFAR-10 has 10. "
            "Restore the official file."
        )
    _compare_digest(version, path, content)
    return tuple(names)


def _parse_binary(content: bytes, source: str) -> Batch:
    """A record is one label byte, then 1,024 red, 1,024 green and 1,024 blue bytes, row by row."""
    rest = len(content) % RECORD_BYTES
    if rest:
        raise DataError(
            f"{source}: ends inside a record at byte {len(content)} (records are {RECORD_BYTES} bytes). "
            "Restore the official file."
        )
    records = np.frombuffer(content, dtype=np.uint8).reshape(-1, RECORD_BYTES)
    labels = records[:, 0]
    wrong = np.flatnonzero(labels >= len(CIFAR10_CLASSES))
    if len(wrong):
        raise DataError(
            f"{source}: label {labels[wrong[0]]} at byte {wrong[0] * RECORD_BYTES}; labels are 0 to 9. "
            "Restore the official file."
        )
    return records[:, 1:].reshape(-1, 3, SIDE_PX, SIDE_PX), labels


def _parse_binary_meta(content: bytes, source: str) -> list[str]:
    try:
        return content.decode("ascii").split()
    except UnicodeDecodeError as error:
        raise DataError(f"{source}: not text at byte {error.start}. Restore the official file.") from error


def _parse_python(content: bytes, source: str) -> Batch:
    found = read_pickled_dict(content, source)
    pixels, labels = found.get(b"data"), found.get(b"labels")
    if not isinstance(pixels, np.ndarray) or pixels.ndim != 2 or pixels.shape[1] != PIXEL_BYTES:
        raise DataError(
            f"{source}: ends at byte {len(content)} without 'data' as an array of {PIXEL_BYTES} bytes a row. "
            "Restore the official file."
        )
    if not isinstance(labels, list) or len(labels) != len(pixels):
        raise DataError(
            f"{source}: ends at byte {len(content)} without 'labels' as a list of {len(pixels)}, one for each image. "
            "Restore the official file."
        )
    for position, label in enumerate(labels):
        if type(label) is not int or not 0 <= label < len(CIFAR10_CLASSES):
            shown = label if type(label) is int else f"of type {type(label).__name__}"
            raise DataError(
                f"{source}: label {shown} at position {position} of 'labels'; labels are 0 to 9. "
                "Restore the official file."
            )
    return pixels.reshape(-1, 3, SIDE_PX, SIDE_PX), np.array(labels, dtype=np.uint8)


def _parse_python_meta(content: bytes, source: str) -> list[str]:
    names = read_pickled_dict(content, source).get(b"label_names")
    if not isinstance(names, list) or not all(isinstance(name, bytes) for name in names):
        raise DataError(
            f"{source}: ends at byte {len(content)} without 'label_names', a list of names. Restore the official file."
        )
    for position, name in enumerate(names):
        if not name.isascii():
            raise DataError(
                f"{source}: the name at position {position} of 'label_names' is not ASCII text. "
                "Restore the official file."
            )
    return [name.decode("ascii") for name in names]


_BINARY = _Version(
    "cifar-10-batches-bin", ".bin", "batches.meta.txt", "sha256", BINARY_SHA256, _parse_binary, _parse_binary_meta
)
_PYTHON = _Version("cifar-10-batches-py", "", "batches.meta", "md5", PYTHON_MD5, _parse_python, _parse_python_meta)
