"""Two processes on this machine (gloo): one run folder, and exactly the test metrics of one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import json, sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from reference.tiny import tiny_split

from firstlight.data.sources import SOURCES
from firstlight.networks import ResNet9Config
from firstlight.training.fit import fit
from firstlight.training.measure import measure
from firstlight.training.recipe import Recipe

SOURCES["tiny"] = lambda data_dir, split: tiny_split(split)
recipe = Recipe(name="tiny", data="tiny", num_val=33, network=ResNet9Config(width=4), max_epochs=2, batch_size=48)
options = dict(accelerator="cpu", devices=2, strategy="ddp", enable_progress_bar=False, precision="32-true")
run = fit(recipe, logs_dir=sys.argv[2], **options)
again = measure(run, **options)
if "LOCAL_RANK" not in __import__("os").environ or __import__("os").environ["LOCAL_RANK"] == "0":
    Path(sys.argv[2], "measured.json").write_text(json.dumps({"path": str(run.path), "two": again}))
"""


def test_two_processes_leave_one_run_and_measure_what_one_process_measures(tiny: str, tmp_path: Path) -> None:
    script = tmp_path / "two.py"
    script.write_text(SCRIPT)
    environment = {name: value for name, value in os.environ.items() if name not in ("LOCAL_RANK", "RANK")}
    subprocess.run(
        [sys.executable, script, Path(__file__).parent.parent, tmp_path / "logs"],
        check=True,
        timeout=400,
        env=environment | {"OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
    )
    found = json.loads((tmp_path / "logs" / "measured.json").read_text())
    assert [path.name for path in (tmp_path / "logs" / "tiny").iterdir()] == ["version_0"]

    from firstlight.training.measure import measure
    from firstlight.training.run import Run

    run = Run(found["path"])
    one = measure(run, accelerator="cpu", enable_progress_bar=False, precision="32-true")
    assert run.predictions.ids.tolist() == list(range(83))
    assert found["two"]["test_acc"] == run.results["test_acc"] == one["test_acc"]
    assert abs(found["two"]["test_loss"] - one["test_loss"]) < 1e-6
