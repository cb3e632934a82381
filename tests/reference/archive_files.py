"""Small archives in the official format, and hostile ones."""

from __future__ import annotations

import hashlib
import io
import tarfile

import numpy as np

from firstlight.data.download.manifest import Archive, Member
from reference.batch_files import binary_batch

FOLDER = "cifar-10-batches-bin"
NUM_IMAGES = 10  # in each batch
CLASSES = b"airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n"


def official_files() -> dict[str, bytes]:
    """Six small batches and the names of the classes."""
    random = np.random.default_rng(0)
    files = {"batches.meta.txt": CLASSES}
    for name in [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]:
        pixels = random.integers(0, 256, (NUM_IMAGES, 3, 32, 32), dtype=np.uint8)
        files[name] = binary_batch(pixels, range(NUM_IMAGES))
    return files


def plain(name: str, content: bytes) -> tuple[tarfile.TarInfo, bytes]:
    """A regular file."""
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    return entry, content


def special(name: str, kind: bytes, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    """A link, a device, a folder ..."""
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry, b""


def packed(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """A tar.gz of these entries."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=1) as tar:
        for entry, content in entries:
            tar.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def official_entries() -> list[tuple[tarfile.TarInfo, bytes]]:
    """The entries of an official archive: a folder, the files, and an unused page."""
    files = [plain(f"{FOLDER}/{name}", content) for name, content in official_files().items()]
    return [special(FOLDER, tarfile.DIRTYPE), *files, plain(f"{FOLDER}/readme.html", b"<html></html>")]


def archive_of(content: bytes, *urls: str, **changes: object) -> Archive:
    """The manifest's entry for a small archive in the binary version."""
    members = {name: Member(len(each), hashlib.sha256(each).hexdigest()) for name, each in official_files().items()}
    values: dict[str, object] = {
        "name": "cifar-10-binary.tar.gz",
        "version": "binary",
        "urls": urls,
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "folder": FOLDER,
        "members": members,
    }
    return Archive(**(values | changes))  # type: ignore[arg-type]
