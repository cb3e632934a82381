"""A picture that takes too much is refused in a line, and the next one is decoded."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from firstlight.data.decoder import Budget, Decoder
from firstlight.data.preprocess import to_pixels
from firstlight.errors import DataError
from reference.hostile import GOOD

TESTS = Path(__file__).parents[1]


@pytest.fixture
def decoder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Decoder]:
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    made = Decoder("reference.bad_decoders:misbehave", Budget(time_s=0.5, memory_bytes=200_000_000))
    yield made
    made.close()


@pytest.mark.parametrize("fault", ["compute", "sleep", "fill", "crash", "other size"])
def test_a_picture_that_takes_too_much_is_refused_and_the_next_is_read(decoder: Decoder, fault: str) -> None:
    begun_s = time.perf_counter()
    with pytest.raises(DataError, match=r"^a\.png: takes too much time or memory to decode"):
        decoder.decode(fault.encode(), "a.png", (4, 4))
    assert time.perf_counter() - begun_s < 10
    assert (decoder.decode(b"", "b.png", (4, 5)).pixels == np.full((3, 4, 5), 7)).all()


def test_what_a_library_prints_is_not_taken_for_an_answer(decoder: Decoder) -> None:
    assert decoder.decode(b"chat", "a.png", (2, 2)).pixels.shape == (3, 2, 2)


def test_one_process_decodes_many_pictures(decoder: Decoder) -> None:
    pids = set()
    for _ in range(3):
        decoder.decode(b"", "a.png", (2, 2))
        pids.add(decoder._idle.queue[0].pid)  # type: ignore[union-attr]
    assert len(pids) == 1


def test_an_interrupted_request_leaves_no_answer_for_the_next(decoder: Decoder) -> None:
    decoder.start()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.4)
        with pytest.raises(KeyboardInterrupt):
            decoder.decode(b"sleep", "a.png", (4, 4))
    finally:
        signal.signal(signal.SIGALRM, before)
    assert decoder.decode(b"", "b.png", (2, 3)).pixels.shape == (3, 2, 3)


def test_pixels_are_those_of_this_process(tmp_path: Path) -> None:
    decoder = Decoder("firstlight.data.decoding:decode_file", Budget())
    for name, make in GOOD.items():
        (tmp_path / "picture").write_bytes(make())
        expected = to_pixels(tmp_path / "picture", (16, 12)).numpy()
        np.testing.assert_array_equal(decoder.decode(make(), name, (16, 12)).pixels, expected, name)
    decoder.close()


def test_the_process_ends_with_the_program_and_imports_no_torch() -> None:
    script = (
        "from firstlight.data.decoder import Budget, Decoder\n"
        "decoder = Decoder('firstlight.data.decoding:decode_file', Budget())\n"
        "decoder.start()\n"
        "print(decoder._idle.get().pid, flush=True)\n"
        "import sys, os\n"
        "print('torch' in sys.modules, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    pid, has_torch = done.stdout.split()
    assert has_torch == "False"
    deadline_s = time.monotonic() + 20
    while time.monotonic() < deadline_s and _is_running(int(pid)):
        time.sleep(0.1)
    assert not _is_running(int(pid))


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
