"""Fetch ONNX Runtime Web with npm into `runtime/`: `make web-runtime`.

npm checks the integrity digest of the package. The script is stored unchanged, and the WebAssembly file is compressed
with gzip. The compressed file contains no date, so that the same version always gives the same bytes.

The npm package contains no licence. `LICENSE` and `ThirdPartyNotices.txt` come from the Python package onnxruntime,
which is built from the same sources.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import tarfile
import tempfile
from pathlib import Path

from firstlight.export.web.runtime import (
    COMPRESSED,
    DIGESTS_NAME,
    PACKAGE,
    RUNTIME_PATH,
    SCRIPT,
    SCRIPT_COPY,
    VERSION,
    WASM,
    sha256,
)
from firstlight.files import write_atomic

INSIDE = "package/dist/"  # folder inside the package


def refresh(folder: Path = RUNTIME_PATH) -> None:
    """Write the files of the package, and their digests."""
    with tempfile.TemporaryDirectory() as temporary:
        command = ["npm", "pack", f"{PACKAGE}@{VERSION}", "--json", "--pack-destination", temporary]
        packed = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        (about,) = packed.values() if isinstance(packed, dict) else packed
        found = _read(Path(temporary) / about["filename"])
    write_atomic(folder / SCRIPT_COPY, found[SCRIPT])
    write_atomic(folder / COMPRESSED, gzip.compress(found[WASM], compresslevel=9, mtime=0))
    digests = {
        "package": PACKAGE,
        "version": VERSION,
        "integrity": about["integrity"],
        "files": {name: sha256(content) for name, content in found.items()},
    }
    write_atomic(folder / DIGESTS_NAME, json.dumps(digests, indent=2) + "\n")


def _read(archive: Path) -> dict[str, bytes]:
    found = {}
    with tarfile.open(archive) as package:
        for name in (SCRIPT, WASM):
            member = package.extractfile(INSIDE + name)
            if member is None:
                raise FileNotFoundError(f"{PACKAGE} {VERSION} has no {INSIDE}{name}")
            found[name] = member.read()
    return found


if __name__ == "__main__":
    refresh()
