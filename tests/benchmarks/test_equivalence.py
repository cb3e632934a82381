"""The comparison of trainings with and without a kernel: its statistics by hand, and a tiny one that is continued."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

import equivalence
from equivalence import Setting, Summary, main, settings_of, sized
from firstlight.evaluation.student_t import quantile


def test_mean_error_and_interval_of_three_pairs_by_hand() -> None:
    summary = Summary.of([0.0, 1.0, 2.0])
    assert summary.mean == 1
    assert summary.standard_error == pytest.approx(1 / math.sqrt(3))
    assert summary.low == pytest.approx(1 - 4.302653 / math.sqrt(3))
    assert summary.high == pytest.approx(1 + 4.302653 / math.sqrt(3))
    assert summary.n == 3


def test_one_pair_proves_nothing() -> None:
    assert Summary.of([0.5]).standard_error == math.inf
    assert Summary.of([0.5]).verdict.startswith("undecided")


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [([0.01, -0.01, 0.0], "harmless"), ([-0.5, -0.51, -0.49], "harmful"), ([-1.0, 1.0, 0.0], "undecided")],
)
def test_the_verdict_follows_from_the_interval(differences: list[float], verdict: str) -> None:
    assert Summary.of(differences).verdict.startswith(verdict)


def test_the_quantile_agrees_with_published_tables() -> None:
    for freedom, expected in ((1, 12.706), (10, 2.228), (15, 2.131), (30, 2.042), (120, 1.980)):
        assert quantile(0.975, freedom) == pytest.approx(expected, abs=0.01)


def test_pairs_differ_in_one_thing() -> None:
    assert settings_of("gelu", "32-true") == (Setting("32-true"), Setting("32-true", ("gelu",)))
    assert settings_of("bfloat16", "32-true") == (Setting("bf16-mixed"), Setting("32-true"))


def test_recipes_keep_validation_images_and_are_narrow() -> None:
    for name, width in equivalence.WIDTHS.items():
        recipe = sized(name, 3, is_tiny=False)
        assert (recipe.network.width, recipe.seed) == (width, 3)
        assert recipe.num_val == (1000 if name == "demo" else 5000)


@pytest.mark.slow
def test_a_tiny_comparison_trains_pairs_once_and_continues(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.jsonl"
    first = main(["batch_norm", "--tiny", "--rows", str(path)])
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(row["recipe"]["seed"], row["disabled_kernels"]) for row in rows] == [
        (0, []),
        (0, ["batch_norm"]),
        (1, []),
        (1, ["batch_norm"]),
    ]
    assert all(row["command"].startswith("python benchmarks/") and 0 <= row["val_acc"] <= 1 for row in rows)
    assert first.n == 2
    assert "n=2" in capsys.readouterr().out
    monkeypatch.setattr(equivalence, "train", lambda *_: pytest.fail("trained again"))
    assert main(["batch_norm", "--tiny", "--rows", str(path)]) == first


def test_without_amx_its_comparison_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(equivalence.cpu, "has_amx", lambda: False)
    with pytest.raises(SystemExit):
        main(["amx", "--tiny"])
    assert "no AMX" in capsys.readouterr().err
