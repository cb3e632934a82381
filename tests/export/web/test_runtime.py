"""The vendored ONNX Runtime Web is the published one, with its licence."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest

from firstlight.errors import RunError
from firstlight.export.web.runtime import (
    COMPRESSED,
    NAMES,
    RUNTIME_PATH,
    SCRIPT_COPY,
    VERSION,
    check_runtime,
    read_digests,
)


def test_every_vendored_file_has_the_digest_of_the_published_package() -> None:
    check_runtime()
    assert {path.name for path in RUNTIME_PATH.iterdir()} == set(NAMES)
    assert read_digests(RUNTIME_PATH)["version"] == VERSION
    assert f"ONNX Runtime Web v{VERSION}" in (RUNTIME_PATH / SCRIPT_COPY).read_text()[:200]


def test_the_licence_is_beside_it() -> None:
    text = (RUNTIME_PATH / "LICENSE").read_text()
    assert "MIT License" in text
    assert "Microsoft Corporation" in text


@pytest.mark.parametrize(
    ("name", "content"),
    [(SCRIPT_COPY, b"alert(1)"), (COMPRESSED, gzip.compress(b"\0asm", mtime=0)), (COMPRESSED, b"damaged")],
    ids=["script", "gzip", "damaged"],
)
def test_a_changed_file_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    folder = shutil.copytree(RUNTIME_PATH, tmp_path / "runtime")
    (folder / name).write_bytes(content)
    with pytest.raises(RunError, match="install firstlight again"):
        check_runtime(folder)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    folder = shutil.copytree(RUNTIME_PATH, tmp_path / "runtime")
    (folder / COMPRESSED).unlink()
    with pytest.raises(RunError, match="incomplete"):
        check_runtime(folder)
