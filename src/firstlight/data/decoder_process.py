"""The process that decodes strangers' pictures; `firstlight.data.decoder` starts it.

It reads requests from standard input and answers each on standard output: a line of JSON, then raw bytes. Nothing is
pickled. The system ends it when a picture takes more processor time than allowed, and refuses it more memory.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from firstlight.data.decoding import TOO_COSTLY, Decoded
from firstlight.errors import DataError


def main(function: str, time_s: float, memory_bytes: int) -> None:
    """Answer requests until standard input is closed.

    Args:
        function: Function that decodes, as `module:name`; it is given the content, a name and a size.
        time_s: Largest processor time of one picture in seconds.
        memory_bytes: Memory that the process may take beyond what it has after its start.
    """
    module, _, name = function.partition(":")
    decode = getattr(import_module(module), name)
    warnings.simplefilter("ignore")  # about defects of pictures that can be read
    Image.init()
    answers, requests = os.fdopen(os.dup(1), "wb"), sys.stdin.buffer
    os.dup2(2, 1)  # whatever a library prints must not be taken for an answer
    _limit_memory(memory_bytes)
    while line := requests.readline():
        request = json.loads(line)
        content = requests.read(request["num_bytes"])
        with_timer(time_s, lambda: _answer(answers, decode, content, request))  # noqa: B023  # called at once


def with_timer(time_s: float, function: Callable[[], None]) -> None:
    """Call a function; the system ends this process after `time_s` seconds of processor time, if the system can."""
    timed = hasattr(signal, "setitimer")
    if timed:
        signal.setitimer(signal.ITIMER_PROF, time_s)
    function()
    if timed:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _answer(answers: BinaryIO, decode: Callable[..., Decoded], content: bytes, request: dict[str, Any]) -> None:
    head: dict[str, Any]
    arrays: list[np.ndarray] = []
    try:
        found = decode(content, request["name"], tuple(request["size_px"]))
    except DataError as error:
        head = {"error": str(error)}
    except MemoryError:
        head = {"error": f"{request['name']}: {TOO_COSTLY}"}
    else:
        arrays = [found.pixels] if found.preview is None else [found.pixels, found.preview]
        head = {"shapes": [array.shape for array in arrays], "notes": found.notes}
    answers.write(json.dumps(head).encode() + b"\n")
    for array in arrays:
        answers.write(array.tobytes())
    answers.flush()


def _limit_memory(memory_bytes: int) -> None:
    """Bound the address space, where the system says how much is taken and enforces the bound (Linux)."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        import resource

        taken = int(statm.read_text(encoding="utf-8").split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (taken + memory_bytes,) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
