"""The process that decodes blocks of images; `firstlight.data.folder.block_pool` starts one for each core.

It reads requests from standard input: a line of JSON, then the contents of images that are no files of their own, each
behind a line with its length. It
writes the pixels into a file, and answers each request with a line of JSON on standard output.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

from firstlight.data.decoder import Decoder
from firstlight.data.folder.pixel_blocks import BlockRow, decode_block, large_picture_decoder, write_block
from firstlight.data.mapped_rows import map_rows
from firstlight.errors import DataError


def main() -> None:
    """Answer requests until standard input is closed."""
    warnings.simplefilter("ignore")  # about defects of pictures that can be read
    Image.init()
    decoder = large_picture_decoder()
    answers, requests = os.fdopen(os.dup(1), "wb"), sys.stdin.buffer
    os.dup2(2, 1)  # whatever a library prints must not be taken for an answer
    while line := requests.readline():
        answer = _answer(json.loads(line), requests, decoder)
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


def _answer(request: dict[str, Any], requests: BinaryIO, decoder: Decoder) -> dict[str, Any]:
    rows = [BlockRow(*row) for row in request["rows"]]
    size_px, old = request["size_px"], None
    try:
        if request["old"] is not None:
            old = map_rows(Path(request["old"]["path"]), request["old"]["num_rows"], (size_px, size_px))
        pixels, refused = decode_block(rows, size_px, old, lambda _: _next_content(requests), decoder)
        digest = write_block(Path(request["path"]), request["offset"], pixels)
    except OSError as error:
        return {"error": error.strerror or str(error)}
    return {"sha256": digest, "refused": list(refused.items())}


def _next_content(requests: BinaryIO) -> bytes:
    """Read the next content, which the other process sends when it is needed, or why there is none."""
    head = json.loads(requests.readline())
    if "error" in head:
        raise DataError(head["error"])
    return requests.read(head["num_bytes"])


if __name__ == "__main__":
    main()
