"""`firstlight fit --seeds` and `--folds`: what is refused, and what is printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from firstlight.cli import main
from firstlight.cli.repeat_fit import print_folds, print_seeds
from firstlight.evaluation.student_t import summarize_values
from firstlight.training.cross_validation import CrossValidation
from firstlight.training.repeated_fits import RepeatedFits, summarize_metrics
from reference.made_runs import make_runs, predictions_with_mistakes


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--seeds", "2", "--folds", "2"], "give --seeds or --folds, not both"),
        (["--seeds", "1"], "seeds must be 2 or more, not 1"),
        (["--folds", "1"], "folds must be 2 or more, not 1"),
        (["--seeds", "2", "--trainer.devices", "2"], "on one device"),
    ],
)
def test_impossible_arguments_are_refused_in_one_line(options: list[str], says: str, tmp_path: Path, capsys) -> None:
    assert main(["fit", "--recipe", "demo", "--logs_dir", str(tmp_path / "logs"), *options]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert not (tmp_path / "logs").exists()


def test_each_run_and_the_summary_are_printed(tmp_path: Path, capsys) -> None:
    runs = make_runs(tmp_path, [range(3), range(5)], seeds=(3, 4), epochs=(1, 1))
    for run, accuracy in zip(runs, (0.9, 0.94), strict=True):
        run.save_json("results.json", {"test_acc": accuracy})
    print_seeds(RepeatedFits(tmp_path / "seeds_0", tuple(runs), summarize_metrics(runs)))
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["seed", "3", "90.00%", "run_0"]
    assert [line.split()[-1] for line in lines[-5:-2]] == ["92.00%", "2.83%", "79.37%"]
    held_out = summarize_values([0.5, 0.7])
    print_folds(CrossValidation(tmp_path / "folds_of_2_0", tuple(runs), held_out, predictions_with_mistakes(range(3))))
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["fold", "1", "50.00%", "90.00%", "run_0"]
    assert "out-of-fold accuracy of 83 training images: 96.39%" in lines
