"""Read and write the checkpoints of a run for Lightning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning_fabric.plugins.io import TorchCheckpointIO

from firstlight.runs.checkpoints import CheckpointFolder


class CheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoint plugin: checkpoints of a run go through `CheckpointFolder`, all others through Lightning.

    Args:
        folder: Checkpoint folder of the run.
    """

    def __init__(self, folder: CheckpointFolder) -> None:
        super().__init__()
        self.folder = folder

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint; in the run's folder, its file name holds the epoch and the step."""
        if Path(path).parent == self.folder.path:
            self.folder.write(checkpoint, Path(path).name)
        else:
            super().save_checkpoint(checkpoint, path, storage_options)

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = True) -> dict[str, Any]:
        """Read a checkpoint, with `weights_only=True`: tensors, numbers and text, never code."""
        return super().load_checkpoint(path, map_location, weights_only=True)
