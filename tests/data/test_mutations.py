"""Ten thousand damaged files are read or refused in one line, in bounded time and memory, without side effects."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

CAMPAIGN = Path(__file__).parents[1] / "reference" / "mutation_campaign.py"
COUNTS = {
    "binary batches of CIFAR-10": 1750,
    "binary batches of CIFAR-100": 1750,
    "pickled batches of CIFAR-10": 1500,
    "pickled batches of CIFAR-100": 1500,
    "archives": 1400,
    "weights": 1500,
    "images in a folder": 300,
    "kept images": 300,
}
MORE_MEMORY_MB = 700  # above the memory before the first case: three copies of a picture of 50 million pixels


@pytest.mark.slow
@pytest.mark.parametrize("kind", COUNTS)
def test_damaged_files_are_read_or_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    command = [sys.executable, str(CAMPAIGN), kind, str(COUNTS[kind]), "0", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"{kind}: {found['seconds']} s, {found['read']} read, {found['refused']} refused")
    assert found["failures"] == []
    assert found["read"] + found["refused"] == COUNTS[kind]
    assert found["more_memory_mb"] < MORE_MEMORY_MB
    assert found["read"] > COUNTS[kind] / 100, "hardly anything was left whole enough to be read"
    assert found["refused"] > COUNTS[kind] / 100 or kind == "kept images", "hardly anything was damaged"


def test_the_campaigns_have_ten_thousand_cases() -> None:
    assert sum(COUNTS.values()) == 10_000


MISBEHAVING = """
import json, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import mutation_campaign as campaign
campaign.CASE_S = 1
outside = Path(sys.argv[3])
faults = iter([
    lambda: 1 / 0,
    lambda: (outside / "left.txt").write_text("x"),
    lambda: (outside / "folder").mkdir(),
    lambda: time.sleep(5),
    lambda: (_ for _ in ()).throw(campaign.FirstlightError("two" + chr(10) + "lines")),
    lambda: bytearray(3 << 30),
    lambda: (campaign.Path(sys.argv[2]) / "inside.txt").write_text("x"),
    lambda: (_ for _ in ()).throw(campaign.FirstlightError("one line")),
])
campaign.KINDS["misbehaving"] = lambda folder: lambda chance: next(faults)()
print(json.dumps(campaign.main("misbehaving", 8, 0, Path(sys.argv[2]))))
"""


@pytest.mark.slow
def test_the_campaign_detects_every_kind_of_failure(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "outside").mkdir()
    places = [str(CAMPAIGN.parent), str(tmp_path / "inside"), str(tmp_path / "outside")]
    done = subprocess.run([sys.executable, "-c", MISBEHAVING, *places], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    problems = {each["number"]: each["problem"] for each in found["failures"]}
    assert sorted(problems) == [0, 1, 2, 3, 4, 5]
    expected = ("ZeroDivisionError", "left.txt", "os.mkdir", "too long", "not one line", "MemoryError")
    assert [says in problems[number] for number, says in enumerate(expected)] == [True] * 6
    assert (found["read"], found["refused"]) == (3, 2)
