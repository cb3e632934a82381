"""Trains in processes that are killed by SIGKILL at a chosen function call.

Started once, it forks for each training: importing PyTorch takes longer than the training itself.

Reads one JSON a line: {"logs_dir", "folder" or null, "at" or null, "count_to" or null}; trains, or resumes the folder,
and dies when the `at`-th call is made; answers with how the process ended. Into the file "count_to" it writes how many
calls there were, and at which of them each phase began.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from firstlight.data.source import SOURCES
from firstlight.training.fit import fit
from firstlight.training.resume import resume
from reference import interrupted
from reference.interrupted import ALWAYS
from reference.tiny import tiny_split

RECIPE = replace(interrupted.RECIPE, averaging=0.9, max_epochs=2)
# The function whose call starts each phase; a phase lasts until the next one starts.
PHASES = {
    "_new_run_folder": "beginning",
    "training_step": "step",
    "save_checkpoint": "checkpoint",
    "on_validation_end": "between epochs",
    "on_test_start": "test",
    "_save": "saving",
}


class Counter:
    """Counts calls of Python and C functions in the main thread; kills the process at one of them."""

    def __init__(self, at: int | None) -> None:
        self.at = at
        self.count = 0
        self.phases: list[tuple[int, str]] = []

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        if event not in ("call", "c_call"):
            return
        self.count += 1
        if self.count == self.at:
            os.kill(os.getpid(), signal.SIGKILL)
        if event == "call" and self.at is None and frame.f_globals.get("__name__", "").startswith("firstlight."):
            phase = PHASES.get(frame.f_code.co_name)
            if phase:
                self.phases.append((self.count, phase))


def work(job: dict[str, Any]) -> None:
    """Train or resume, and count."""
    SOURCES["tiny"] = lambda data_dir, split: tiny_split(split)
    torch.set_num_threads(1)
    counter = Counter(job["at"])
    options = {"enable_progress_bar": False, "accelerator": "cpu", "precision": "32-true", "log_every_n_steps": 2}
    if job["at"] or job["count_to"]:
        sys.setprofile(counter)
    if job["folder"] is None:
        fit(RECIPE, logs_dir=job["logs_dir"], checkpoints=ALWAYS, **options)
    else:
        resume(Path(job["folder"]), checkpoints=ALWAYS)
    sys.setprofile(None)
    if job["count_to"]:
        Path(job["count_to"]).write_text(
            json.dumps({"count": counter.count, "phases": counter.phases}), encoding="utf-8"
        )


def main() -> None:
    """Fork for every line."""
    for line in sys.stdin:
        child = os.fork()
        if not child:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            try:
                work(json.loads(line))
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
