"""Twenty runs that SIGKILL ends in a step, a checkpoint, an epoch's end, the test or saving end with the same bits."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from firstlight.runs.run import Run
from reference import killed
from reference.same_run import differences

KILLED = -9
MOMENTS = {"beginning": 2, "step": 5, "checkpoint": 6, "between epochs": 3, "test": 2, "saving": 2}  # twenty


class Forge:
    """The process that forks the trainings one after another."""

    def __init__(self) -> None:
        places = [str(Path(killed.__file__).parent.parent), *filter(None, sys.path)]
        self.process = subprocess.Popen(
            [sys.executable, killed.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(places), "OMP_NUM_THREADS": "1"},
        )

    def run(
        self, logs_dir: Path, folder: Path | None = None, at: int | None = None, count_to: Path | None = None
    ) -> int:
        """Train, or resume the folder, in a new process; return how it ended."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        job = {"logs_dir": logs_dir, "folder": folder, "at": at, "count_to": count_to}
        self.process.stdin.write(json.dumps(job, default=str) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def close(self) -> None:
        """End it."""
        self.process.communicate(timeout=60)


def moments(counted: dict[str, Any], draw: random.Random) -> list[tuple[str, int]]:
    """Choose calls at which to kill, this many in each phase, at random between its start and the next phase."""
    ends = [start for start, _ in counted["phases"][1:]] + [counted["count"]]
    spans: dict[str, list[tuple[int, int]]] = {}
    for (start, phase), end in zip(counted["phases"], ends, strict=True):
        spans.setdefault(phase, []).append((start, end))
    assert set(spans) == set(MOMENTS)
    chosen = [(phase, draw.choice(spans[phase])) for phase, number in MOMENTS.items() for _ in range(number)]
    return [(phase, draw.randrange(*span)) for phase, span in chosen]


def survive(forge: Forge, logs_dir: Path, at: int, again_at: int) -> tuple[Path, int]:
    """Kill a run, kill it again after a resume, resume it; return its folder and the number of kills."""
    assert forge.run(logs_dir, at=at) == KILLED
    runs = [path.parent for path in logs_dir.glob("tiny/*/recipe.yaml")]
    if not runs:  # killed before the folder was a run: there is nothing to resume
        assert forge.run(logs_dir) == 0
        return next(path.parent for path in logs_dir.glob("tiny/*/recipe.yaml")), 1
    second = forge.run(logs_dir, runs[0], at=again_at)
    assert second in (KILLED, 0)
    assert second == 0 or forge.run(logs_dir, runs[0]) == 0
    return runs[0], 1 + (second == KILLED)


@pytest.mark.slow
def test_twenty_killed_runs_end_with_the_bits_of_an_uninterrupted_run(tmp_path: Path) -> None:
    forge = Forge()
    try:
        assert forge.run(tmp_path / "whole", count_to=tmp_path / "count.json") == 0
        whole = tmp_path / "whole" / "tiny" / "version_0"
        counted = json.loads((tmp_path / "count.json").read_text())
        draw = random.Random(6)
        found = []
        for number, (phase, at) in enumerate(moments(counted, draw)):
            folder, times = survive(forge, tmp_path / str(number), at, draw.randrange(counted["count"]))
            found.append((phase, at, times, differences(folder, whole)))
            assert Run(folder).is_finished
        assert [each for each in found if each[-1]] == []
        assert len(found) == sum(MOMENTS.values()) == 20
        assert sum(times for _, _, times, _ in found) > 25, "the second kills hit something, too"
    finally:
        forge.close()
