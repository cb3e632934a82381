"""The vendored files of ONNX Runtime Web, which run the model in the browser, and the check of their digests."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

from firstlight.errors import RunError

RUNTIME_PATH = Path(__file__).parent / "runtime"
DIGESTS_NAME = "digests.json"
PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
SCRIPT = "ort.wasm.bundle.min.mjs"
SCRIPT_COPY = "ort.wasm.bundle.min.js"  # some static hosts do not know the suffix mjs
WASM = "ort-wasm-simd-threaded.wasm"
COMPRESSED = f"{WASM}.gz"  # the page decompresses it, because many static hosts do not
LICENCES = ("LICENSE", "ThirdPartyNotices.txt")
NAMES = (SCRIPT_COPY, COMPRESSED, *LICENCES, DIGESTS_NAME)


def check_runtime(folder: Path = RUNTIME_PATH) -> None:
    """Compare the vendored files with the digests of the published package.

    Raises:
        RunError: A file is missing or differs.
    """
    try:
        expected = read_digests(folder)["files"]
        found = {name: sha256(content) for name, content in contents(folder).items()}
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise RunError(f"{folder} is incomplete or damaged: install firstlight again") from error
    for name, digest in found.items():
        if digest != expected.get(name):
            raise RunError(f"{folder / name} differs from {PACKAGE} {VERSION}: install firstlight again")


def contents(folder: Path) -> dict[str, bytes]:
    """Return the uncompressed content of the files by their names in the npm package."""
    return {
        SCRIPT: (folder / SCRIPT_COPY).read_bytes(),
        WASM: gzip.decompress((folder / COMPRESSED).read_bytes()),
    }


def read_digests(folder: Path) -> dict[str, Any]:
    """Return the content of `digests.json`: the package, its version and integrity, and the SHA-256 of each file."""
    return dict(json.loads((folder / DIGESTS_NAME).read_text(encoding="utf-8")))


def sha256(content: bytes) -> str:
    """Return the SHA-256 of bytes, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()
