"""The page of a comparison: its numbers, its images, and that names of any kind stay text."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from firstlight.cli import main
from firstlight.reports.comparison_page import write_comparison
from firstlight.reports.run_comparison import compare_runs
from firstlight.runs.run import Run
from reference.made_runs import make_runs
from reference.tiny import tiny_split

HOSTILE = ("<script>alert(1)</script>", '" onmouseover="alert(1)"', "\u202e\u05d0\u05d1 " + "w" * 200, "&amp; #=%")


def rename_classes(run: Run, names: tuple[str, ...]) -> Run:
    with safe_open(run.weights_path, "pt") as weights:
        metadata = dict(weights.metadata()) | {"class_names": json.dumps(names)}
    save_file(load_file(run.weights_path), run.weights_path, metadata)
    return Run(run.path)


@pytest.fixture
def runs(tmp_path: Path, tiny: str) -> list[Run]:
    return make_runs(tmp_path / "runs", [range(3), range(2, 23)], seeds=(0, 0), epochs=(2, 1))


def test_the_page_shows_the_images_that_one_run_gets_right(runs: list[Run], tmp_path: Path) -> None:
    page = write_comparison(compare_runs(runs), tiny_split("test"), tmp_path / "page.html", max_images=5).read_text()
    assert "A right, B wrong: 20 images" in page
    assert "B right, A wrong: 2 images" in page
    shown = [int(index) for index in re.findall(r'class="numbers">test image (\d+)', page)]
    assert set(shown[:5]) <= set(range(3, 23))
    assert set(shown[5:]) == {0, 1}
    assert page.count('alt="evidence of ') + page.count("no positive evidence") == 2 * 7
    assert "A is more accurate than B by 21.69 points" in page
    assert not re.search(r"\son\w+=|https?://", page)
    assert page.count("<script") == 1


def test_names_of_strangers_stay_text(runs: list[Run], tmp_path: Path) -> None:
    renamed = [rename_classes(run, HOSTILE) for run in runs]
    images = replace(tiny_split("test"), class_names=HOSTILE)
    page = write_comparison(compare_runs(renamed), images, tmp_path / "page.html").read_text()
    assert page.count("<script") == 1, "of the page itself"
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert '" onmouseover="' not in page


def test_the_verb_prints_verdict_and_path(runs: list[Run], tmp_path: Path, capsys) -> None:
    paths = [str(run.path) for run in runs]
    assert main(["compare", *paths]) == 0
    out = capsys.readouterr().out
    assert "A is more accurate than B" in out
    assert out.endswith(f"{runs[0].path / 'compare.html'}\n")
    assert (runs[0].path / "compare.html").is_file()
    assert main(["compare", *paths, "--json", "--out", str(tmp_path / "no.html")]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(compare_runs(runs).numbers()))
    assert not (tmp_path / "no.html").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "a comparison needs at least two runs: name another one besides "),
        (["RUN", "--max_images", "0"], "--max_images must be 1 or more"),
        (["RUN", "--method", "magic"], "no method is called 'magic'"),
        (["nowhere"], "nowhere is not a run"),
    ],
)
def test_impossible_arguments_are_refused_in_one_line(runs: list[Run], options: list[str], says: str, capsys) -> None:
    options = [str(runs[1].path) if option == "RUN" else option for option in options]
    assert main(["compare", str(runs[0].path), *options]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
