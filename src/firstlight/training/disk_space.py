"""Check before a training that its run folder fits on the disk."""

from __future__ import annotations

import shutil
from pathlib import Path

from torch import nn

from firstlight.errors import WriteError

# Smallest disk space of a run, as a multiple of the weights: the weights themselves, and two checkpoints (the newest
# and the one being written), each with the weights and the two moving averages of Adam.
NUM_COPIES = 7
MEGABYTE = 2**20


def refuse_full_disk(folder: Path, network: nn.Module) -> None:
    """Raise WriteError if the weights and checkpoints of a training do not fit on the disk.

    Args:
        folder: Folder in which the run folder will be; it need not exist yet.
        network: Network to train.
    """
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())
    tensors = [*network.parameters(), *network.buffers()]
    needed = NUM_COPIES * sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise WriteError(
            f"{folder}: the disk has {free / MEGABYTE:,.1f} MB free, and the weights and checkpoints of this training "
            f"need at least {needed / MEGABYTE:,.1f} MB. Free space, or choose another --logs_dir (in Python, "
            "default_root_dir of the Trainer)."
        )
