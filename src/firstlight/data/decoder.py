"""Decoder: has pictures decoded by processes of their own, which a hostile picture may slow down, fill or crash."""

from __future__ import annotations

import atexit
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from firstlight.data.decoding import TOO_COSTLY, Decoded
from firstlight.errors import DataError

MAX_HEAD_BYTES = 65_536  # of the first line of an answer
MAX_ARRAY_BYTES = 2**26
PATIENCE = 4  # seconds by the clock for each allowed second of processor time, on a busy machine
_NO_ANSWER = (OSError, EOFError, ValueError, LookupError, TypeError)  # the process has ended, or answers nonsense
SOURCES = str(Path(__file__).parents[2])  # the folder from which this process imports firstlight


@dataclass(frozen=True)
class Budget:
    """What one picture may cost.

    Args:
        time_s: Processor time in seconds.
        memory_bytes: Memory.
    """

    time_s: float = 3.0
    memory_bytes: int = 300_000_000


FILE_BUDGET = Budget(time_s=10.0, memory_bytes=1_000_000_000)  # of a file that the user has chosen


class Decoder:
    """Decodes pictures in processes that are started when they are first needed, kept, and replaced if they end.

    Threads may share a decoder.

    Args:
        function: Function that decodes, as `module:name`; see `firstlight.data.decoding.decode_file`.
        budget: What one picture may cost; a process that needs more is killed.
        num_processes: Number of pictures that are decoded at a time; further ones wait.
    """

    def __init__(self, function: str, budget: Budget, num_processes: int = 1) -> None:
        self.function, self.budget = function, budget
        self._idle: queue.LifoQueue[subprocess.Popen[bytes] | None] = queue.LifoQueue()
        for _ in range(num_processes):
            self._idle.put(None)
        atexit.register(self.close)

    def decode(self, content: bytes, name: str, size_px: tuple[int, int]) -> Decoded:
        """Decode a picture.

        Args:
            content: Bytes of the file.
            name: Name of the file for messages.
            size_px: Height and width of the pixels.

        Raises:
            DataError: The picture cannot be read, or takes too much time or memory.
        """
        process = self._idle.get()
        try:
            if process is None or process.poll() is not None:
                process = self._start()
            with _killed_after(process, PATIENCE * self.budget.time_s):
                return _ask(process, content, name, size_px)
        except DataError:
            raise
        except BaseException as error:  # Ctrl-C, too, leaves an answer that nobody has read
            if process is not None:
                _end(process)
            if isinstance(error, _NO_ANSWER):
                raise DataError(f"{name}: {TOO_COSTLY}") from error
            raise
        finally:
            self._idle.put(process)

    def start(self) -> None:
        """Start one process in advance, so that the first picture need not wait for it."""
        process = self._idle.get()
        self._idle.put(process or self._start())

    def close(self) -> None:
        """End the idle processes; the next picture starts a new one."""
        for _ in range(self._idle.qsize()):
            process = self._idle.get()
            if process is not None:
                _end(process)
            self._idle.put(None)

    def _start(self) -> subprocess.Popen[bytes]:
        # A session of its own keeps Ctrl-C from it; it ends when this process does, with its standard input.
        limits = [str(self.budget.time_s), str(self.budget.memory_bytes)]
        paths = os.pathsep.join(filter(None, (SOURCES, os.environ.get("PYTHONPATH"))))
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "firstlight.data.decoder_process", self.function, *limits],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"},
            start_new_session=True,
        )


def _ask(process: subprocess.Popen[bytes], content: bytes, name: str, size_px: tuple[int, int]) -> Decoded:
    """Send a request and read its answer, of which nothing is believed.

    Raises:
        DataError: The picture cannot be read.
        OSError, EOFError, ValueError, LookupError, TypeError: The process has ended, or its answer has another form.
    """
    assert process.stdin is not None
    assert process.stdout is not None
    head = {"num_bytes": len(content), "name": name, "size_px": size_px}
    process.stdin.write(json.dumps(head).encode() + b"\n")
    process.stdin.write(content)
    process.stdin.flush()
    line = process.stdout.readline(MAX_HEAD_BYTES)
    if not line.endswith(b"\n"):
        raise EOFError
    found = json.loads(line)
    if "error" in found:
        raise DataError(str(found["error"]))
    arrays = [_read_array(process, tuple(map(int, shape))) for shape in found["shapes"]]
    pixels, preview = arrays if len(arrays) == 2 else (arrays[0], None)
    if pixels.shape != (3, *size_px):
        raise ValueError(pixels.shape)
    return Decoded(pixels, preview, tuple(map(str, found["notes"])))


def _read_array(process: subprocess.Popen[bytes], shape: tuple[int, ...]) -> np.ndarray:
    assert process.stdout is not None
    num_bytes = int(np.prod(shape))
    if not 0 < num_bytes <= MAX_ARRAY_BYTES:
        raise ValueError(shape)
    content = bytearray(process.stdout.read(num_bytes))
    if len(content) < num_bytes:
        raise EOFError
    return np.frombuffer(content, np.uint8).reshape(shape)


@contextmanager
def _killed_after(process: subprocess.Popen[bytes], time_s: float) -> Iterator[None]:
    """Kill a process if the block takes longer; reading from it then ends."""
    timer = threading.Timer(time_s, process.kill)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            try:
                stream.close()
            except OSError:  # an unsent rest of a request
                continue
