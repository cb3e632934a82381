"""Write and read the checkpoints of a run; damaged files are recognized, and nothing in a file is executed.

A file name holds a number, the epoch, the step and a digest of the content:
`000007-epoch_3-step_450-9f86d081884c7d65.ckpt`. The content is a checkpoint of Lightning's.
"""

from __future__ import annotations

import hashlib
import io
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from firstlight.errors import RunError
from firstlight.files import read_bytes, write_atomic
from firstlight.runs.checkpoint_fields import check_checkpoint
from firstlight.typed_json import FieldError

NUM_KEPT = 2  # the newest checkpoint, and the one before it in case the newest is damaged
NAME = re.compile(r"(\d{6,})-epoch_(\d+)-step_(\d+)-([0-9a-f]{16})\.ckpt")
NEEDED = ("state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks", "firstlight")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint read from a file.

    Args:
        path: Path of the file.
        epoch: Number of completed epochs.
        step: Number of weight updates.
        content: Checkpoint of Lightning's, with our own entries under the key `firstlight`.
    """

    path: Path
    epoch: int
    step: int
    content: dict[str, Any]


class CheckpointFolder:
    """The folder `checkpoints/` of a run.

    Args:
        path: Path of the folder, which is created by the first write.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def files(self) -> list[Path]:
        """Return the checkpoint files, the oldest first."""
        found = [each for each in self.path.glob("*.ckpt") if NAME.fullmatch(each.name)]
        return sorted(found, key=lambda each: int(each.name.partition("-")[0]))

    def write(self, content: dict[str, Any], progress: str) -> Path:
        """Write the next checkpoint, and remove all but the newest two.

        Args:
            content: Checkpoint of Lightning's: nested tensors, numbers and text.
            progress: Completed epochs and steps, as `epoch_<completed>-step_<updates>`.

        Raises:
            WriteError: The folder cannot be written, or the disk is full; earlier checkpoints are unchanged.
        """
        buffer = io.BytesIO()
        torch.save(content, buffer)
        earlier = self.files()
        number = 1 + (int(earlier[-1].name.partition("-")[0]) if earlier else 0)
        path = self.path / f"{number:06d}-{progress}-{_digest(buffer.getbuffer())}.ckpt"
        write_atomic(path, buffer.getbuffer())
        for each in self.files()[:-NUM_KEPT]:
            each.unlink(missing_ok=True)
        return path

    def newest(self) -> Checkpoint | None:
        """Read the newest undamaged checkpoint; a warning names each damaged one that is skipped.

        Returns:
            The checkpoint; None if there is none.

        Raises:
            RunError: A file is undamaged but was not written by firstlight.
        """
        for path in reversed(self.files()):
            match = NAME.fullmatch(path.name)
            assert match is not None
            _, epoch, step, digest = match.groups()
            data = _read(path)
            if _digest(data) == digest:
                return Checkpoint(path, int(epoch), int(step), load(io.BytesIO(data), path))
            logging.getLogger("firstlight").warning(f"{path} is damaged; looking for the checkpoint before it")
        return None

    def rename_damaged(self) -> None:
        """Rename damaged files to `.damaged`, so that they do not count among the two kept checkpoints."""
        for path in self.files():
            if not path.stem.endswith(_digest(_read(path))):
                path.rename(path.with_suffix(".damaged"))


def load(file: io.BytesIO, path: Path) -> dict[str, Any]:
    """Read a checkpoint of firstlight; nothing in it is executed (`weights_only=True`).

    Args:
        file: Content of the file.
        path: Path that errors name.

    Raises:
        RunError: The content is not a checkpoint of firstlight.
    """
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # for a foreign file, the restricted unpickler raises exceptions of many types
        raise RunError(
            f"{path}: is not a checkpoint of firstlight, and was not opened. Remove it to use the checkpoint before it."
        ) from error
    if not isinstance(content, dict) or not all(isinstance(content.get(name), dict | list) for name in NEEDED):
        raise RunError(f"{path}: is not a checkpoint of firstlight. Remove it to use the checkpoint before it.")
    try:
        check_checkpoint(content)
    except FieldError as error:
        raise RunError(f"{path}: {error}. Remove it to use the checkpoint before it.") from error
    return content


def _digest(content: bytes | memoryview) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _read(path: Path) -> bytes:
    try:
        return read_bytes(path)
    except FileNotFoundError:  # another process of this training has just renamed it
        return b""
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror})") from error


def all_tensors(values: Any) -> Iterator[torch.Tensor]:
    """Yield every tensor in nested dictionaries and sequences."""
    if isinstance(values, torch.Tensor):
        yield values
    elif isinstance(values, dict):
        for each in values.values():
            yield from all_tensors(each)
    elif isinstance(values, list | tuple):
        for each in values:
            yield from all_tensors(each)
