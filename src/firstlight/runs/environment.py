"""The environment of a run: versions, hardware, commit."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from firstlight.native import cpu
from firstlight.native.dispatch import disabled_kernels
from firstlight.native.libraries import kernel_report, usable_compiler

PACKAGES = ("firstlight", "torch", "pytorch-lightning", "numpy", "torchmetrics")

RESULTS = ":(exclude,top)benchmarks/results"  # git pathspec that excludes the benchmark results


def describe_environment() -> dict[str, Any]:
    """Return date, commit, hardware and versions, which every run and every benchmark records."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "hardware": {
            "cpu": cpu.model_name(),
            "cpu_cores": os.cpu_count(),
            "cpu_bfloat16": cpu.bfloat16_unit(),
            "threads": torch.get_num_threads(),
            "compiler": usable_compiler(),
            "disabled_kernels": list(disabled_kernels()),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
        "kernels": kernel_report(),
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES},
        "platform": platform.platform(),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Return the commit of the checkout that this code runs from, with a plus sign if a file differs from the commit.

    Benchmark results do not count as a change: the benchmark itself writes them.
    """
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        tracked = subprocess.run([*git, "ls-files", "--error-unmatch", __file__], capture_output=True, timeout=10)
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10)
        status = [*git, "status", "--porcelain", "-uno", "--", ":/", RESULTS]
        changed = subprocess.run(status, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if tracked.returncode or head.returncode:
        return None
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")
