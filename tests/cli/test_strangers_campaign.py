"""Files of strangers with any value in any field: each verb answers in lines, without a traceback, in bounded time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CAMPAIGN = Path(__file__).parents[1] / "reference" / "strangers_campaign.py"
DURATION_S, MIN_ATTEMPTS, MAX_PEAK_MB, MAX_ATTEMPT_S = 110, 50, 1500, 15

VERBS = {"app", "audit", "compare", "explain", "export", "fit", "predict", "report", "summary"}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0])
def test_no_field_of_a_stranger_ends_in_a_traceback(tmp_path: Path, seed: int) -> None:
    command = [sys.executable, str(CAMPAIGN), str(DURATION_S), str(seed), str(tmp_path)]
    environment = os.environ | {"COLUMNS": "200"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=DURATION_S + 240, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    failures = found.pop("failures")
    print(found)
    assert failures == []
    assert found["attempts"] >= MIN_ATTEMPTS
    assert found["ends"]["refused"] > 0.1 * found["attempts"], "hardly anything was wrong"
    assert found["ends"]["done"] > 0.1 * found["attempts"], "hardly anything was read"
    assert set(found["verbs"]) == VERBS
    assert found["peak_mb"] < MAX_PEAK_MB
    assert found["slowest_s"] < MAX_ATTEMPT_S
