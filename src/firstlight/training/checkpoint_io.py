"""How Lightning reads and writes the checkpoints of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning_fabric.plugins.io import TorchCheckpointIO

from firstlight.runs.checkpoints import CheckpointFolder


class CheckpointIO(TorchCheckpointIO):
    """How Lightning reads and writes checkpoints: those of a run by `CheckpointFolder`, all others its own way.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: CheckpointFolder) -> None:
        super().__init__()
        self.folder = folder

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write; in the run's folder the path's name says the place in the training."""
        if Path(path).parent == self.folder.path:
            self.folder.write(checkpoint, Path(path).name)
        else:
            super().save_checkpoint(checkpoint, path, storage_options)

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = True) -> dict[str, Any]:
        """Read, nothing but tensors, numbers and text."""
        return super().load_checkpoint(path, map_location, weights_only=True)
