"""`firstlight.fit` and the five lines of the exercise leave the same files, TensorBoard tags and final metrics."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2, metadata
from tensorboard.plugins.hparams import plugin_data_pb2

import firstlight
from firstlight.networks import ResNet9Config
from firstlight.recipes.config import Recipe
from firstlight.runs.run import Run

OF_FIT_ALONE = {"options.json", ".lock"}  # what `resume` needs
OF_LIGHTNING_ALONE = {"checkpoints"}  # of Lightning's ModelCheckpoint
TIMES = {"train_s", "total_s"}
RECIPE = {"num_val": 32, "batch_size": 64, "network": ResNet9Config(width=2), "max_epochs": 2, "seed": 4}


@pytest.fixture
def runs(tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Run, Run]:
    """The run of `fit` and that of the five lines."""
    monkeypatch.chdir(tmp_path)
    options = {"histograms": True, "enable_progress_bar": False, "precision": "32-true"}
    fitted = firstlight.fit(Recipe(data=tiny, **RECIPE), **options)
    model = firstlight.CustomResNet(num_classes=4, data=tiny, **RECIPE)
    trainer = firstlight.Trainer(**options)
    trainer.fit(model)
    trainer.test(model, verbose=False)
    return fitted, firstlight.load("logs/exercise/version_0")


def events_of(run: Run) -> EventAccumulator:
    events = EventAccumulator(str(run.path))
    events.Reload()
    return events


def test_fit_and_the_five_lines_leave_the_same_files(runs: tuple[Run, Run]) -> None:
    fitted, five = runs
    names = [{path.name for path in run.path.iterdir() if "tfevents" not in path.name} for run in runs]
    assert names[0] - OF_FIT_ALONE == names[1] - OF_LIGHTNING_ALONE
    assert fitted.recipe == five.recipe
    assert fitted.metadata == five.metadata
    assert fitted.data == five.data
    assert set(fitted.environment) == set(five.environment)
    assert torch.equal(fitted.predictions.logits, five.predictions.logits)
    without_times = [{name: run.results[name] for name in run.results.keys() - TIMES} for run in runs]
    assert without_times[0] == without_times[1]
    assert set(five.results) >= TIMES
    rows = []
    for run in runs:
        with (run.path / "metrics.csv").open(newline="") as stream:
            rows.append([{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(stream)])
    assert rows[0] == rows[1]

    events = [events_of(run) for run in runs]
    tags = [{kind: set(found) for kind, found in each.Tags().items() if isinstance(found, list)} for each in events]
    assert tags[0] == tags[1]
    assert all(each.Tags()["graph"] for each in events)
    assert tags[1]["images"] >= {"samples", "misclassified"}
    assert "gradients/network.head.weight" in tags[1]["histograms"]
    for tag in ("val_acc", "train_loss_epoch", "final/test_acc"):
        values = [[(event.step, event.value) for event in each.Scalars(tag)] for each in events]
        assert values[0] == values[1], tag
    hparams = [hyperparameters(each) for each in events]
    assert hparams[0] == hparams[1]
    assert hparams[1]["batch_size"] == 64
    assert charted(events[1]) <= tags[1]["scalars"] | {"test_acc_tta"}  # a recipe with one view has no tta
    assert {"train_loss_epoch", "val_loss", "train_acc_epoch", "val_acc"} <= charted(events[1])


def hyperparameters(events: EventAccumulator) -> dict[str, object]:
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    session = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info
    found = {name: getattr(value, str(value.WhichOneof("kind"))) for name, value in session.hparams.items()}
    assert found.pop("started").startswith("20")
    return found


def charted(events: EventAccumulator) -> set[str]:
    """The tags that the custom charts show."""
    (event,) = events.Tensors(metadata.CONFIG_SUMMARY_TAG)
    layout = layout_pb2.Layout.FromString(event.tensor_proto.string_val[0])
    return {tag for category in layout.category for chart in category.chart for tag in chart.multiline.tag}
