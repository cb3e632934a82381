"""`firstlight report`: the path of the page, and errors in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from firstlight.cli import main
from firstlight.cli.report import DEFAULT_MAX_MISTAKES, PROJECTIONS
from firstlight.data.source import SOURCES
from firstlight.errors import DataError
from firstlight.reports import feature_map
from firstlight.reports.gallery import MAX_MISTAKES
from firstlight.runs.run import Run
from reference.made_run import make_run
from reference.tiny import tiny_split


@pytest.fixture
def run(tmp_path: Path, tiny: str) -> Run:
    folder = tmp_path / "run"
    folder.mkdir()
    return make_run(folder)


def test_the_page_is_written_into_the_run_folder_and_its_path_printed(run, capsys):
    assert main(["report", str(run.path)]) == 0
    assert capsys.readouterr().out == f"{run.path / 'report.html'}\n"
    assert (run.path / "report.html").read_text().startswith("<!doctype html>")


def test_options_change_the_page(run, tmp_path, capsys):
    out = tmp_path / "new" / "page.html"
    options = ["--out", str(out), "--method", "layer_cam", "--stage", "layer2", "--max_mistakes", "2"]
    assert main(["report", str(run.path), *options]) == 0
    text = out.read_text()
    assert "layer_cam at stage layer2" in text
    assert "2 most confident of" in text
    assert not (run.path / "report.html").exists()


def test_the_page_shows_training_images_unless_told_otherwise(run, capsys, monkeypatch):
    assert main(["report", str(run.path)]) == 0
    assert "the nearest of" in (run.path / "report.html").read_text()
    assert main(["report", str(run.path), "--without_training_images"]) == 0
    assert "the nearest of" not in (run.path / "report.html").read_text()
    monkeypatch.setitem(SOURCES, "tiny", only_test_images)
    assert main(["report", str(run.path)]) == 0
    assert capsys.readouterr().err.splitlines()[-1] == "the report shows no training images: no training images here"


def only_test_images(_, split):
    if split == "train":
        raise DataError("no training images here")
    return tiny_split(split)


def test_json_prints_the_numbers_of_the_predictions(run, capsys):
    assert main(["report", str(run.path), "--json"]) == 0
    numbers = json.loads(capsys.readouterr().out)
    predictions = run.predictions
    pairs = list(zip(predictions.labels.tolist(), predictions.logits.argmax(dim=1).tolist(), strict=True))
    assert numbers["confusion"] == [[pairs.count((true, predicted)) for predicted in range(4)] for true in range(4)]
    assert numbers["num_right"] / numbers["num_images"] == predictions.accuracy
    assert [entry["name"] for entry in numbers["classes"]] == numbers["class_names"] == list(run.class_names)
    assert all(each["q_value"] < 0.05 and each["accuracy"] < 1 for each in numbers["slices"])
    assert not (run.path / "report.html").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--method", "magic"], "no method is called 'magic'"),
        (["--stage", "layer9"], "no stage layer9"),
        (["--max_mistakes", "0"], "max_mistakes must be 1 or more"),
    ],
)
def test_unknown_names_and_indices_are_refused_in_one_line(run, capsys, options, message):
    assert main(["report", str(run.path), *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (run.path / "report.html").exists()


def test_the_default_is_that_of_the_gallery():
    assert DEFAULT_MAX_MISTAKES == MAX_MISTAKES


def test_the_projections_are_those_of_the_map():
    assert PROJECTIONS == feature_map.PROJECTIONS
