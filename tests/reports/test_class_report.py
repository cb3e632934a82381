"""The class report of a run: its files and its printed table."""

from __future__ import annotations

import csv
import io
import json

import pytest
import torch
from PIL import Image
from rich.console import Console

from firstlight.evaluation.predictions import Predictions
from firstlight.reports.class_report import MAX_ROWS, class_results, class_summary, class_table, save_class_report
from reference.made_run import make_run


def predictions_of(num_classes: int, num_images: int = 60) -> Predictions:
    draw = torch.Generator().manual_seed(0)
    labels = torch.randint(0, num_classes, (num_images,), generator=draw)
    logits = torch.randn(num_images, num_classes, generator=draw)
    return Predictions(logits, torch.zeros(num_images, 1), labels, torch.arange(num_images))


def printed(table: object) -> str:
    console = Console(file=io.StringIO(), width=80, markup=False)
    console.print(table)
    return console.file.getvalue()


def test_the_files_and_the_entries_agree_with_the_predictions(tmp_path):
    run = make_run(tmp_path)
    results = save_class_report(run, run.predictions)
    json.dumps(results, allow_nan=False)
    with (tmp_path / "confusion.csv").open(newline="") as stream:
        header, *rows = list(csv.reader(stream))
    assert header == ["true class", *run.class_names]
    assert [row[0] for row in rows] == list(run.class_names)
    right = sum(int(row[1 + index]) for index, row in enumerate(rows))
    assert right == round(run.predictions.accuracy * len(run.predictions))
    assert [entry["support"] for entry in results["classes"]] == [sum(map(int, row[1:])) for row in rows]
    low, high = results["test_acc_interval"]
    assert low < run.predictions.accuracy < high
    assert set(results["test_top_k_acc"]) == {"2", "3"}, "4 classes: top-5 would always be right"
    for name in ("confusion.png", "reliability.png"):
        with Image.open(tmp_path / name) as image:
            assert min(image.size) > 300


def test_the_temperature_changes_the_calibration_and_nothing_else():
    predictions = predictions_of(4)
    plain, softer = (class_results(predictions, list("abcd"), temperature) for temperature in (1.0, 3.0))
    assert plain["test_ece"] != softer["test_ece"]
    assert plain["test_brier"] != softer["test_brier"]
    assert {name: plain[name] for name in plain if name not in ("test_ece", "test_brier")} == {
        name: softer[name] for name in softer if name not in ("test_ece", "test_brier")
    }


def test_no_images_have_no_metrics():
    assert class_results(predictions_of(3, 0), list("abc")) == {}


def test_the_table_shows_names_as_they_are():
    text = printed(class_table(class_results(predictions_of(2), ["[red]cat[/red]", "<b>dog</b>"])))
    assert "[red]cat[/red]" in text
    assert "<b>dog</b>" in text
    assert "weighted mean" in text


@pytest.mark.parametrize("num_classes", [MAX_ROWS, 50])
def test_of_many_classes_the_table_shows_the_weakest(num_classes):
    results = class_results(predictions_of(num_classes, 500), [f"class-{i}" for i in range(num_classes)])
    shown = {
        line.split()[0] for line in printed(class_table(results)).splitlines() if line.strip().startswith("class-")
    }
    weakest = sorted(results["classes"], key=lambda entry: entry["f1"])[:MAX_ROWS]
    assert shown == {entry["name"] for entry in weakest}


def test_the_summary_names_the_interval_and_the_calibration():
    results = class_results(predictions_of(10), [str(i) for i in range(10)])
    low, high = results["test_acc_interval"]
    line = class_summary(results)
    assert f"{low:.2%} to {high:.2%}" in line
    assert f"ECE {results['test_ece']:.2%}" in line
    assert "top-5" in line
