"""`firstlight test`: the run's own data again, or another folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from firstlight.cli import main
from firstlight.runs.run import Run
from reference.made_run import make_run
from reference.photo_folders import make_folder


@pytest.fixture
def run(tmp_path: Path, tiny: str) -> Run:
    (tmp_path / "run").mkdir()
    return make_run(tmp_path / "run")


def test_testing_another_folder_does_not_change_the_runs_results(run: Run, tmp_path: Path, capsys) -> None:
    root = make_folder(tmp_path / "photos", {"red": 4, "blue": 4})
    before = {name: (run.path / name).read_bytes() for name in ("results.json", "predictions.npz")}
    assert main(["test", str(run.path), "--data_dir", str(root), "--data", "folder"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("test_acc 0.")
    assert lines[-1] == f"tested on photos; results: {run.path / 'tests' / 'photos'}"
    assert all((run.path / name).read_bytes() == each for name, each in before.items())


def test_testing_the_runs_own_data_updates_its_results(run: Run, capsys) -> None:
    (run.path / "predictions.npz").unlink()
    assert main(["test", str(run.path)]) == 0
    assert "tests" not in capsys.readouterr().out
    assert (run.path / "predictions.npz").is_file()
    assert not (run.path / "tests").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--out", "there"], "--out is for tests on another data set"),
        (["--data", "nonsense"], "no data set is called 'nonsense'"),
        (["--data", "watermark"], "which the network does not know"),
    ],
)
def test_invalid_arguments_are_refused_in_one_line(run: Run, options: list[str], says: str, capsys) -> None:
    assert main(["test", str(run.path), *options]) == 2
    error = capsys.readouterr().err
    assert says in error.splitlines()[-1]
