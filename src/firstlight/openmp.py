"""Make OpenMP's threads sleep soon while they wait, so that other programs on the machine do not stall a training.

A parallel loop ends at a barrier, and by default the threads that reach it first spin there. If another program holds
the core of the last thread, they spin for as long as the operating system lets the other program run, hundreds of times
in a training step. OpenMP reads its settings when it is loaded, which `import torch` does, so this module must be
imported before.
"""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping

# Iterations of the waiting loop of GNU's OpenMP, and milliseconds of waiting of Intel's and LLVM's, before a thread
# sleeps. Their defaults are 300,000 and 200.
SETTINGS = {"GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "1"}
WAIT_POLICY = "OMP_WAIT_POLICY"  # the standard's own variable, which both respect

_applied_in_time: bool | None = None


def limit_spinning(environment: MutableMapping[str, str] | None = None) -> None:
    """Set how long OpenMP's threads spin before they sleep, unless the user has set one of these variables.

    Args:
        environment: Environment variables; None for those of this process, which its child processes inherit.
    """
    global _applied_in_time
    environment = os.environ if environment is None else environment
    if WAIT_POLICY in environment or any(name in environment for name in SETTINGS):
        return
    environment.update(SETTINGS)
    _applied_in_time = "torch" not in sys.modules


def came_too_late() -> bool:
    """Return whether the settings have no effect on this process, because torch was imported before firstlight."""
    return _applied_in_time is False
