"""Building the file of decoded images: on all cores, resumable after a kill, with a full disk, beside strange files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from firstlight.data.decoding import TOO_COSTLY
from firstlight.data.folder import block_pool, decoded_folder, image_map, pixel_blocks
from firstlight.data.folder.build_map import Wanted, build_map
from firstlight.data.folder.cache import keys_of, open_cache, settings
from firstlight.data.folder.image_map import open_image_map
from firstlight.data.folder.layout import find_layout
from firstlight.data.folder.open_layout import open_layout
from firstlight.data.folder.reader import read_split
from firstlight.data.mapped_images import MappedImages
from firstlight.errors import DataError, WriteError

SIZE_PX = 16
STEP = 40  # images in a block here


def make_photos(root: Path, num_images: int) -> Path:
    """Images of noise, each its own, in two classes."""
    draw = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
    for number in range(num_images):
        pixels = draw.integers(0, 256, (SIZE_PX, SIZE_PX, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / ("cat", "dog")[number % 2] / f"{number:05}.png", compress_level=1)
    return root


def wanted_of(root: Path) -> Wanted:
    layout = find_layout(root)
    files = [file for each in layout.files.values() for file in each]
    old_rows = np.full(len(files), -1)
    return Wanted(files, keys_of(files), old_rows, layout.class_names, settings(SIZE_PX), SIZE_PX)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_photos(tmp_path_factory.mktemp("many"), 3 * STEP + 7)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(image_map, "BLOCK_BYTES", STEP * 3 * SIZE_PX**2)
    monkeypatch.setenv("FIRSTLIGHT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(params=["threads", "processes"])
def worker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    use_processes(monkeypatch, request.param == "processes")
    return request.param


def use_processes(monkeypatch: pytest.MonkeyPatch, uses: bool = True) -> None:
    monkeypatch.setattr(block_pool, "MIN_FOR_PROCESSES", 0 if uses else 2**62)
    monkeypatch.setattr(block_pool, "num_cores", lambda: 3)
    monkeypatch.setattr(block_pool, "free_memory_bytes", lambda: 2**40)


def pixels_in(wanted: Wanted) -> np.ndarray:
    """What Pillow alone reads."""
    return np.stack([np.asarray(Image.open(file.path).convert("RGB")) for file in wanted.files])


@pytest.mark.usefixtures("worker")
def test_each_row_has_the_pixels_the_class_and_the_path_of_its_file(photos: Path, tmp_path: Path) -> None:
    wanted, progress = wanted_of(photos), []
    path = tmp_path / "built.images"
    assert build_map(path, wanted, on_progress=lambda done, total: progress.append((done, total))) == {}
    found = open_image_map(path, wanted.settings, SIZE_PX)
    assert found is not None
    assert np.array_equal(found.pixels, pixels_in(wanted))
    assert found.is_whole()
    assert [found.file_name(row) for row in range(len(wanted.files))] == [file.relative_path for file in wanted.files]
    assert [found.class_names[label] for label in found.labels] == [file.class_name for file in wanted.files]
    assert found.find(wanted.keys).tolist() == list(range(len(wanted.files)))
    assert found.find(wanted.keys[::-1] ^ np.uint64(1)).tolist() == [-1] * len(wanted.files)
    total = len(wanted.files)
    assert progress[0] == (0, total)
    assert progress[-1] == (total, total)
    assert len(progress) == 5
    assert [each.name for each in tmp_path.iterdir()] == ["built.images"]


def test_threads_and_processes_write_the_same_file(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = wanted_of(photos)
    for name, uses in (("threads", False), ("processes", True)):
        use_processes(monkeypatch, uses)
        build_map(tmp_path / name, wanted)
    assert (tmp_path / "threads").read_bytes() == (tmp_path / "processes").read_bytes()


@pytest.mark.usefixtures("worker")
def test_images_that_are_no_files_are_decoded_from_their_content(photos: Path, tmp_path: Path) -> None:
    def refuse() -> bytes:
        raise DataError("row 3: the row holds no image")

    wanted = wanted_of(photos)
    files = [replace(file, read=file.path.read_bytes, path=Path(f"row {row}")) for row, file in enumerate(wanted.files)]
    files[3] = replace(files[3], read=refuse)
    files[5] = replace(files[5], read=lambda: b"no image")
    path = tmp_path / "built.images"
    assert build_map(path, replace(wanted, files=files)) == {
        3: "the row holds no image",
        5: "is not an image that can be read",
    }
    expected = pixels_in(wanted)
    expected[[3, 5]] = 0
    found = open_image_map(path, wanted.settings, SIZE_PX)
    assert found is not None
    assert np.array_equal(found.pixels, expected)
    assert found.find(wanted.keys)[[3, 4, 5]].tolist() == [-1, 4, -1]
    assert found.refused_names() == {wanted.files[3].relative_path, wanted.files[5].relative_path}


@pytest.mark.usefixtures("worker")
def test_rows_of_an_older_file_are_copied(photos: Path, tmp_path: Path) -> None:
    wanted, path = wanted_of(photos), tmp_path / "built.images"
    half = len(wanted.files) // 2
    old = replace(wanted, files=wanted.files[:half], keys=wanted.keys[:half], old_rows=wanted.old_rows[:half])
    build_map(path, old)
    before = open_cache(path, SIZE_PX)
    assert before is not None
    gone = [replace(file, path=Path("gone.png")) for file in wanted.files[:half]]
    rows = before.find(wanted.keys)
    assert (rows >= 0).sum() == half
    assert build_map(path, replace(wanted, files=[*gone, *wanted.files[half:]], old_rows=rows), half) == {}
    after = open_cache(path, SIZE_PX)
    assert after is not None
    assert np.array_equal(after.pixels, pixels_in(wanted))


SCRIPT = """
import sys
from pathlib import Path
from firstlight.data.folder import block_pool, image_map
from firstlight.data.folder.open_layout import open_layout
from firstlight.data.folder.reader import read_split

block_pool.MIN_FOR_PROCESSES = 0 if sys.argv[2] == "processes" else 2**62
block_pool.num_cores = lambda: 2
image_map.BLOCK_BYTES = 40 * 3 * 16**2
print(read_split(open_layout(Path(sys.argv[1])), "train", 16).digest())
"""


@pytest.mark.parametrize("where", ["threads", "processes"])
def test_a_killed_process_is_continued(
    tmp_path: Path, cache: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_photos(tmp_path / "photos", 12 * STEP)
    slow = tmp_path / "slow" / "sitecustomize.py"  # so that the kill comes in the middle
    slow.parent.mkdir()
    slow.write_text(
        "import time\nfrom PIL import ImageOps\nfit = ImageOps.fit\n"
        "def slowly(*args, **options):\n    time.sleep(0.01)\n    return fit(*args, **options)\nImageOps.fit = slowly\n"
    )
    source = str(Path(block_pool.__file__).parents[3])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(slow.parent), source])}
    first = subprocess.Popen([sys.executable, "-c", SCRIPT, str(root), where], env=environment, start_new_session=True)
    num_done = wait_for_blocks(cache, 3)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert 3 <= num_done < 12
    assert not list(cache.rglob("*.images"))

    decoded: list[int] = []
    write_block = pixel_blocks.write_block
    use_processes(monkeypatch, False)
    monkeypatch.setattr(block_pool, "write_block", lambda *args: decoded.append(1) or write_block(*args))
    resumed = read_split(open_layout(root), "train", SIZE_PX)
    assert 0 < len(decoded) <= 12 - 3, "the finished blocks are decoded again"
    assert [path.suffix for path in (cache / "folders").iterdir()] == [".images"]
    monkeypatch.setenv("FIRSTLIGHT_CACHE", str(tmp_path / "other"))
    assert read_split(open_layout(root), "train", SIZE_PX).digest() == resumed.digest()


def wait_for_blocks(cache: Path, count: int, patience_s: float = 60.0) -> int:
    """Wait until the journal has so many blocks, and return their number."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        for journal in cache.rglob(".*.journal"):
            num_blocks = journal.read_text().count("\n") - 1
            if num_blocks >= count:
                return num_blocks
        time.sleep(0.02)
    raise AssertionError("no block was finished")


def killed(path: Path, wanted: Wanted, monkeypatch: pytest.MonkeyPatch, num_blocks: int = 2) -> tuple[Path, Path]:
    """Build until some blocks are finished, as a process that is then killed; return its two files."""

    class KilledError(BaseException):
        pass

    def stop(done: int, total: int) -> None:
        if done >= num_blocks * STEP:
            raise KilledError

    use_processes(monkeypatch, False)
    with pytest.raises(KilledError):
        build_map(path, wanted, on_progress=stop)
    return path.with_name(".built.partial"), path.with_name(".built.journal")


DAMAGES: dict[str, Any] = {
    "nothing": lambda partial, journal: None,
    "cut journal": lambda partial, journal: journal.write_bytes(journal.read_bytes()[:-5]),
    "torn block": lambda partial, journal: overwrite(partial, 10, b"\xff\x00\xff"),
    "index": lambda partial, journal: partial.write_bytes(partial.read_bytes() + b"half of an index"),
    "no journal": lambda partial, journal: journal.unlink(),
    "other journal": lambda partial, journal: journal.write_text("[1, 2]\n"),
    "strange lines": lambda partial, journal: journal.write_text(journal.read_text() + '{"a": [[[]]]}\n'),
    "short file": lambda partial, journal: partial.write_bytes(b"short"),
    "link": lambda partial, journal: (partial.unlink(), partial.symlink_to(partial.with_name("victim"))),
}


def overwrite(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_a_killed_process_left_is_checked(
    photos: Path, tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, path, victim = wanted_of(photos), tmp_path / "built.images", tmp_path / "victim"
    victim.write_bytes(b"x" * 100_000_000 if damage == "link" else b"")
    before = victim.stat().st_mtime_ns
    DAMAGES[damage](*killed(path, wanted, monkeypatch))
    progress: list[int] = []
    assert build_map(path, wanted, on_progress=lambda done, _: progress.append(done)) == {}
    found = open_image_map(path, wanted.settings, SIZE_PX)
    assert found is not None
    assert np.array_equal(found.pixels, pixels_in(wanted))
    assert found.is_whole()
    expected = {"nothing": 2, "index": 2, "cut journal": 1, "torn block": 1}.get(damage, 0)
    assert progress[0] == expected * STEP
    assert victim.stat().st_mtime_ns == before
    assert sorted(each.name for each in tmp_path.iterdir() if each.name != "cache") == ["built.images", "victim"]


def test_other_images_do_not_continue_what_was_left(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, path = wanted_of(photos), tmp_path / "built.images"
    killed(path, wanted, monkeypatch)
    other = replace(wanted, files=wanted.files[::-1], keys=wanted.keys[::-1].copy())
    build_map(path, other)
    found = open_image_map(path, wanted.settings, SIZE_PX)
    assert found is not None
    assert np.array_equal(found.pixels, pixels_in(other))


def test_a_picture_that_ends_its_process_is_refused_alone(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = wanted_of(photos)
    deadly = str(wanted.files[STEP + 2].path)
    hook = tmp_path / "hook" / "sitecustomize.py"
    hook.parent.mkdir()
    hook.write_text(
        "import os, firstlight.files as files\nread = files.read_bytes\n"
        "def read_or_die(path, *rest):\n"
        f"    return os.kill(os.getpid(), 9) if str(path) == {deadly!r} else read(path, *rest)\n"
        "files.read_bytes = read_or_die\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(hook.parent), prepend=os.pathsep)
    monkeypatch.setattr(block_pool, "SOURCES", os.pathsep.join([str(hook.parent), block_pool.SOURCES]))
    use_processes(monkeypatch)
    path = tmp_path / "built.images"
    assert build_map(path, wanted) == {STEP + 2: TOO_COSTLY}
    expected = pixels_in(wanted)
    expected[STEP + 2] = 0
    found = open_image_map(path, wanted.settings, SIZE_PX)
    assert found is not None
    assert found.is_whole()
    assert np.array_equal(found.pixels, expected)


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("when", ["at once", "later"])
def test_a_full_disk_is_one_line_and_leaves_nothing(
    photos: Path, tmp_path: Path, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    resource = pytest.importorskip("resource")
    wanted, path = wanted_of(photos), tmp_path / "built.images"
    num_bytes = len(wanted.files) * 3 * SIZE_PX**2
    if when == "later":  # on disks without reservation
        monkeypatch.delattr(os, "posix_fallocate")
        monkeypatch.setattr(os, "ftruncate", lambda *_: None)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes // 2, hard))
    try:
        with pytest.raises(WriteError, match=r"^cannot write .*built\.images: File too large$"):
            build_map(path, wanted)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [each.name for each in tmp_path.iterdir() if each.name != "cache"] == []


def test_too_many_images_for_the_memory_and_the_disk_are_one_line(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", fail)
    monkeypatch.setenv("FIRSTLIGHT_IMAGE_MEMORY_GB", "0.00001")
    with pytest.raises(
        WriteError, match=r"too many for the memory, and cannot be kept on the disk: cannot write .*: No"
    ):
        read_split(open_layout(photos), "train", SIZE_PX)


def test_images_that_do_not_fit_in_memory_stay_in_the_cache(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_memory = read_split(open_layout(photos), "train", SIZE_PX)
    monkeypatch.setenv("FIRSTLIGHT_IMAGE_MEMORY_GB", "0.00001")
    in_file = read_split(open_layout(photos), "train", SIZE_PX)
    assert not isinstance(in_memory.pixels, MappedImages)
    assert isinstance(in_file.pixels, MappedImages)
    assert in_file.digest() == in_memory.digest()
    assert in_file.file_names == in_memory.file_names
    assert in_file.mean_and_std == in_memory.mean_and_std


@pytest.mark.parametrize("attack", ["fifo", "device", "huge index", "negative label", "backward name", "other size"])
def test_strange_cache_files_are_not_opened(photos: Path, tmp_path: Path, attack: str) -> None:
    from firstlight.data.folder.image_map import _FOOTER, _MAGIC, write_index

    path, keys = tmp_path / "built.images", np.ones((2, 2), dtype=np.uint64)
    labels, names, num_bytes = np.array([0, 1]), ["a", "b"], 2 * 3 * SIZE_PX**2
    if attack == "fifo":
        os.mkfifo(path)
    elif attack == "device":
        path.symlink_to("/dev/zero")
    elif attack == "huge index":
        path.write_bytes(b"\0" * num_bytes + _FOOTER.pack(_MAGIC, 2**62, b""))
    else:
        labels[0] = -1 if attack == "negative label" else 0
        with path.open("wb") as file:
            file.write(b"\0" * (num_bytes + (attack == "other size")))
            write_index(file, settings(SIZE_PX), keys, labels, ("x", "y"), names, [])
    if attack == "backward name":
        content = path.read_bytes()
        path.write_bytes(content.replace(np.array([1, 2]).tobytes(), np.array([3, 2]).tobytes()))
    assert open_image_map(path, settings(SIZE_PX), SIZE_PX) is None


def test_what_is_decoded_is_announced_with_the_time_left(
    photos: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("firstlight.data.row_progress.SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.setattr(decoded_folder, "MIN_ANNOUNCED", 5)
    with caplog.at_level("INFO", logger="firstlight"):
        read_split(open_layout(photos), "train", SIZE_PX)
    assert f"decoding {3 * STEP + 7:,} images of {photos}, once" in caplog.text
    assert f"decoding {photos.name}: {STEP} of {3 * STEP + 7} images, " in capsys.readouterr().err
