"""The processes of one training: one process per device."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pytorch_lightning.utilities import rank_zero_only

from firstlight.errors import UsageError
from firstlight.runs.lock import lock_run

# Variables by which a launcher tells a process which machine it is on; Lightning waits for the others in any case.
NODE_VARIABLES = ("NODE_RANK", "GROUP_RANK", "RANK", "SLURM_NODEID", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "LSB_JOBID")


def is_first_process() -> bool:
    """Return whether this process writes the run folder: the only process of a training, or the one of rank 0."""
    return not getattr(rank_zero_only, "rank", 0)


@contextmanager
def training_lock(folder: Path) -> Iterator[None]:
    """Hold the run folder's lock; the first process of a training holds it for all of them.

    Raises:
        RunError: Another training holds the lock, or the folder cannot be written.
    """
    if not is_first_process():
        yield
        return
    with lock_run(folder):
        yield


def check_nodes(num_nodes: int) -> None:
    """Check that the other machines of a training can be known, for which Lightning would wait forever.

    Raises:
        UsageError: The training needs several machines, and no launcher says which one this is.
    """
    if num_nodes > 1 and not any(name in os.environ for name in NODE_VARIABLES):
        raise UsageError(
            f"the training runs on {num_nodes} machines (num_nodes), and only this one is known. Start the same "
            "command on each, with MASTER_ADDR, MASTER_PORT and NODE_RANK set, or with torchrun or SLURM"
        )
