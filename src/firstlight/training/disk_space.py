"""Check before a training that its run folder can be made and fits on the disk."""

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
    """Raise WriteError if a file is in the place of the folder, or the disk has too little space for a training.

    Args:
        folder: Folder in which the run folder will be; it need not exist yet.
        network: Network to train.
    """
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise WriteError(
            f"{existing} is a file, so the runs cannot be in a folder of that name: rename the file, or choose another "
            "--logs_dir (in Python, default_root_dir of the Trainer)."
        )
    tensors = [*network.parameters(), *network.buffers()]
    needed = NUM_COPIES * sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise WriteError(
            f"{folder}: the disk has {free / MEGABYTE:,.1f} MB free, and the weights and checkpoints of this training "
            f"need at least {needed / MEGABYTE:,.1f} MB. Free space, or choose another --logs_dir (in Python, "
            "default_root_dir of the Trainer)."
        )
