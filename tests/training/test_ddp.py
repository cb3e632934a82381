"""Two processes on this machine (gloo): one run folder, shards without repeats, the test metrics of one process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from firstlight.runs.run import Run
from firstlight.training.retest import retest
from reference.same_run import differences, results_of

SCRIPT = """
import json, sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
import pytorch_lightning as pl
from reference.tiny import tiny_split

from firstlight.data.source import SOURCES
from firstlight.networks import ResNet9Config
from firstlight.training.fit import fit
from firstlight.recipes.config import Recipe

class Seen(pl.Callback):
    def __init__(self):
        self.ids, self.losses = [], []

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.ids.append([trainer.current_epoch, batch_idx, batch.ids.tolist()])
        self.losses.append([trainer.current_epoch, len(batch.ids), float(outputs["loss"])])

    def on_train_end(self, trainer, module):
        Path(sys.argv[2], f"seen_{trainer.global_rank}.json").write_text(json.dumps([self.ids, self.losses]))

SOURCES["tiny"] = lambda data_dir, split: tiny_split(split)
small = dict(name="tiny", data="tiny", num_val=33, network=ResNet9Config(width=4), max_epochs=2, batch_size=48)
recipe = Recipe(**small, hardest_share=float(sys.argv[3]))
options = dict(accelerator="cpu", devices=2, strategy="ddp", enable_progress_bar=False, precision="32-true")
fit(recipe, logs_dir=Path(sys.argv[2], "logs"), callbacks=[Seen()], logger="none", **options)
"""


def alone() -> dict[str, str]:
    """The environment without the variables of a distributed training."""
    names = ("LOCAL_RANK", "RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    return {name: value for name, value in os.environ.items() if name not in names} | {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of two processes that Lightning starts, as for `--trainer.devices 2 --trainer.strategy ddp`."""
    return train_by_two(tmp_path_factory.mktemp("two"))


def train_by_two(folder: Path, hardest_share: float = 1.0) -> Path:
    (folder / "two.py").write_text(SCRIPT)
    command = [sys.executable, folder / "two.py", Path(__file__).parent.parent, folder, str(hardest_share)]
    subprocess.run(command, check=True, timeout=400, env=alone(), cwd=folder)
    return folder


def test_one_process_writes(trained: Path) -> None:
    assert [path.name for path in (trained / "logs" / "tiny").iterdir()] == ["version_0"]
    run = Run(trained / "logs" / "tiny" / "version_0")
    assert run.is_finished
    assert not list(run.path.glob(".*"))


def test_test_metrics_are_exactly_those_of_one_process(tiny: str, trained: Path) -> None:
    run = Run(trained / "logs" / "tiny" / "version_0")
    assert run.predictions.ids.tolist() == list(range(83))
    one = retest(run, accelerator="cpu", enable_progress_bar=False, precision="32-true")
    assert (run.results["test_loss"], run.results["test_acc"]) == (one["test_loss"], one["test_acc"])


def test_every_image_is_trained_on_once_an_epoch_by_one_of_them(trained: Path) -> None:
    seen = [json.loads((trained / f"seen_{rank}.json").read_text())[0] for rank in (0, 1)]
    for epoch in (0, 1):
        mine, theirs = ([i for at, _, ids in each if at == epoch for i in ids] for each in seen)
        assert len(mine + theirs) == len(set(mine + theirs)) == 192 - 33
        assert abs(len(mine) - len(theirs)) <= 4, "at most one image a step"
    assert [len(each) for each in seen] == [8, 8], "four steps an epoch"


def test_the_epochs_training_loss_is_that_of_all_images(trained: Path) -> None:
    losses = [each for rank in (0, 1) for each in json.loads((trained / f"seen_{rank}.json").read_text())[1]]
    last = [(count, loss) for epoch, count, loss in losses if epoch == 1]
    expected = sum(count * loss for count, loss in last) / sum(count for count, _ in last)
    run = Run(trained / "logs" / "tiny" / "version_0")
    assert run.results["train_loss_epoch"] == pytest.approx(expected, rel=1e-5)


def test_both_processes_choose_the_same_hardest_images(tmp_path: Path) -> None:
    train_by_two(tmp_path, hardest_share=0.5)
    seen = [json.loads((tmp_path / f"seen_{rank}.json").read_text())[0] for rank in (0, 1)]
    first, second = ([i for each in seen for at, _, ids in each if at == epoch for i in ids] for epoch in (0, 1))
    assert len(first) == len(set(first)) == 192 - 33
    assert len(second) == 192 - 33
    assert len(set(second)) == 80, "half of them, which come twice"
    assert max(second.count(i) for i in set(second)) == 2


TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
FIT = "--recipe demo --num_val 9000 --max_epochs 2 --batch_size 25 --network.width 4 --trainer.accelerator cpu"
TWO = "--trainer.devices 2 --trainer.strategy ddp"


def torchrun(folder: Path, arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*TORCHRUN, "-m", "firstlight", "fit", *arguments.split()]
    return subprocess.run(command, capture_output=True, text=True, timeout=400, env=alone(), cwd=folder, check=False)


@pytest.mark.slow
def test_torchrun_trains_on_two_processes_and_resumes_after_a_signal_with_the_same_bits(tmp_path: Path) -> None:
    done = torchrun(tmp_path, f"{FIT} {TWO} --logs_dir whole")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("run folder:") == 1, "one process prints"
    whole = tmp_path / "whole" / "demo" / "version_0"

    command = [*TORCHRUN, "-m", "firstlight", "fit", *f"{FIT} {TWO} --logs_dir logs".split()]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=alone(), cwd=tmp_path)
    folder = tmp_path / "logs" / "demo" / "version_0"
    wait_for(folder, "metrics.csv", rows=2)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    assert "resume with: firstlight fit --resume logs/demo/version_0" in said
    assert Run(folder).checkpoints.files()
    done = torchrun(tmp_path, "--resume logs/demo/version_0")
    assert done.returncode == 0, done.stderr
    assert differences(folder, whole) == []
    assert results_of(whole)["test_acc"] == pytest.approx(measured_by_one(whole)["test_acc"])


@pytest.mark.slow
def test_the_variables_that_srun_sets_make_one_training_of_two_processes(tmp_path: Path) -> None:
    names = {"SLURM_NTASKS": 2, "SLURM_NTASKS_PER_NODE": 2, "SLURM_NODEID": 0, "SLURM_JOB_ID": 4711}
    job = {name: str(value) for name, value in names.items()} | {"SLURM_JOB_NAME": "fit", "SLURM_NODELIST": "localhost"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "firstlight", "fit", *f"{FIT} {TWO} --logs_dir logs".split()],
            env=alone() | job | {"SLURM_PROCID": rank, "SLURM_LOCALID": rank},
            cwd=tmp_path,
        )
        for rank in ("0", "1")
    ]
    assert [process.wait(timeout=400) for process in processes] == [0, 0]
    assert [path.name for path in (tmp_path / "logs" / "demo").iterdir()] == ["version_0"]
    run = Run(tmp_path / "logs" / "demo" / "version_0")
    assert run.results["test_loss"] == measured_by_one(run.path)["test_loss"]


def wait_for(folder: Path, name: str, rows: int) -> None:
    """Wait until a table has this many lines."""
    for _ in range(2000):
        path = folder / name
        if path.exists() and len(path.read_text().splitlines()) >= rows:
            return
        time.sleep(0.05)
    raise AssertionError(f"{folder} has no {name} with {rows} lines")


def measured_by_one(folder: Path) -> dict[str, float]:
    return retest(Run(folder), accelerator="cpu", enable_progress_bar=False)
