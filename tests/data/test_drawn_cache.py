"""The cache of the drawn images: the same bits as drawn, and never a damaged file."""

from __future__ import annotations

from pathlib import Path

import pytest

from firstlight.data import drawn
from firstlight.data.drawn import EMBEDDED_SEED, NUM_EMBEDDED, draw, read_drawn
from firstlight.data.drawn_cache import DIGESTS


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FIRSTLIGHT_CACHE", str(tmp_path))
    return tmp_path / "drawn"


@pytest.mark.parametrize("watermark", [False, True])
def test_the_second_reading_draws_nothing_and_has_the_same_bits(
    cache: Path, watermark: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = draw(NUM_EMBEDDED["test"], EMBEDDED_SEED, "test", watermark)
    read_drawn("test", watermark)
    monkeypatch.setattr(drawn, "draw", lambda *_: pytest.fail("drawn again"))
    found = read_drawn("test", watermark)
    assert found.digest() == expected.digest()
    assert found.evidence.equal(expected.evidence)
    assert found.labels.equal(expected.labels)
    assert (found.name, found.class_names) == (expected.name, expected.class_names)
    found.images[0] = 0  # the memory is the caller's own
    assert [path.name for path in cache.iterdir()] == [
        f"{expected.name.replace(' ', '-')}-{DIGESTS[expected.name][:16]}.bin"
    ]


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: b"!" + content[1:], lambda _: b""])
def test_a_damaged_file_is_replaced(cache: Path, damage) -> None:
    expected = read_drawn("test")
    (path,) = cache.iterdir()
    content = path.read_bytes()
    path.write_bytes(damage(content))
    assert read_drawn("test").digest() == expected.digest()
    assert path.read_bytes() == content


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FIRSTLIGHT_CACHE", str(tmp_path / "file"))
    assert len(read_drawn("test")) == NUM_EMBEDDED["test"]
