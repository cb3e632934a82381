"""Writes CIFAR-100 files as their authors did, small ones, and the archives that they come in.

What the official files hold is known from their published description: a record of the binary version is the coarse
label, the fine label, the pixels; a pickle of the Python version has the keys below, in this order.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Sequence

import numpy as np

from firstlight.data.download.manifest import Archive, Member
from reference.archive_files import packed, plain, special
from reference.batch_files import pickled

# Superclass of each class, in the order of the classes, as it is published beside the data set.
COARSE_OF_FINE = (
    *(4, 1, 14, 8, 0, 6, 7, 7, 18, 3, 3, 14, 9, 18, 7, 11, 3, 9, 7, 11),
    *(6, 11, 5, 10, 7, 6, 13, 15, 3, 15, 0, 11, 1, 10, 12, 14, 16, 9, 11, 5),
    *(5, 19, 8, 8, 15, 13, 14, 17, 18, 10, 16, 4, 17, 4, 2, 0, 17, 4, 18, 17),
    *(10, 3, 2, 12, 12, 16, 12, 1, 9, 19, 2, 10, 0, 1, 16, 12, 9, 13, 15, 13),
    *(16, 19, 2, 4, 6, 19, 5, 5, 8, 19, 18, 1, 2, 15, 6, 0, 17, 8, 14, 13),
)


def binary_batch(pixels: np.ndarray, fine: Sequence[int], coarse: Sequence[int]) -> bytes:
    """The coarse label, the fine label, the bytes of the image, and so on."""
    return b"".join(bytes([c, f]) + each.tobytes() for each, f, c in zip(pixels, fine, coarse, strict=True))


def python_batch(pixels: np.ndarray, fine: Sequence[int], coarse: Sequence[int], label: bytes = b"training") -> bytes:
    """The dictionary of `train` and `test`."""
    content: dict[bytes, object] = {
        b"filenames": [b"image_s_%06d.png" % i for i in range(len(fine))],
        b"batch_label": label + b" batch 1 of 1",
        b"fine_labels": list(fine),
        b"coarse_labels": list(coarse),
        b"data": pixels.reshape(len(pixels), -1),
    }
    return pickled(content)


def python_meta(fine: Sequence[str], coarse: Sequence[str]) -> bytes:
    """The dictionary of `meta`."""
    return pickled({b"fine_label_names": _encoded(fine), b"coarse_label_names": _encoded(coarse)})


def binary_names(names: Sequence[str]) -> bytes:
    """A name in each line."""
    return "".join(f"{name}\n" for name in names).encode()


def small_split(num_images: int, seed: int) -> tuple[np.ndarray, list[int], list[int]]:
    """Pixels, fine and coarse labels; every class comes once in a hundred images."""
    pixels = np.random.default_rng(seed).integers(0, 256, (num_images, 3, 32, 32), dtype=np.uint8)
    fine = [i % 100 for i in range(num_images)]
    return pixels, fine, [COARSE_OF_FINE[label] for label in fine]


def files_of(
    version: str, fine: Sequence[str], coarse: Sequence[str], num_train: int, num_test: int
) -> dict[str, bytes]:
    """The files of one version, by their names."""
    train, test = small_split(num_train, seed=1), small_split(num_test, seed=2)
    if version == "binary":
        names = {"coarse_label_names.txt": binary_names(coarse), "fine_label_names.txt": binary_names(fine)}
        return {"train.bin": binary_batch(*train), "test.bin": binary_batch(*test)} | names
    batches = {"train": python_batch(*train), "test": python_batch(*test, label=b"testing")}
    return batches | {"meta": python_meta(fine, coarse)}


def archive_of(version: str, files: dict[str, bytes], *urls: str) -> tuple[Archive, bytes]:
    """The manifest's entry for an archive of these files, and the archive."""
    folder = f"cifar-100-{version}"
    entries = [special(folder, tarfile.DIRTYPE), *(plain(f"{folder}/{name}", each) for name, each in files.items())]
    content = packed(*entries, plain(f"{folder}/file.txt~", b""))  # the official ones have such a file
    members = {name: Member(len(each), md5=hashlib.md5(each).hexdigest()) for name, each in files.items()}
    sha256, name = hashlib.sha256(content).hexdigest(), f"cifar-100-{version}.tar.gz"
    return Archive(name, version, urls, len(content), sha256, folder, members), content  # type: ignore[arg-type]


def _encoded(names: Sequence[str]) -> list[bytes]:
    return [name.encode() for name in names]
