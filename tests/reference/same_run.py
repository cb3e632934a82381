"""Two runs end with the same bits: weights, predictions, rows of the table, results, and what TensorBoard shows."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

TIMES = ("train_s", "total_s", "seconds")


def differences(run: Path, other: Path) -> list[str]:
    """Return what differs between two run folders, except times."""
    weights, others = (load_file(folder / "model.safetensors") for folder in (run, other))
    found = [name for name in weights.keys() | others.keys() if not _same(weights.get(name), others.get(name))]
    with np.load(run / "predictions.npz") as mine, np.load(other / "predictions.npz") as theirs:
        found += [f"predictions.{name}" for name in mine if mine[name].tobytes() != theirs[name].tobytes()]
    pairs = {
        "metrics.csv": [rows_of(folder) for folder in (run, other)],
        "results.json": [results_of(folder) for folder in (run, other)],
    }
    found += [f"{name}: {one} and {two}" for name, (one, two) in pairs.items() if one != two]
    events, expected = (Counter(events_of(folder)) for folder in (run, other))
    found += [f"event too many: {each}" for each in (events - expected).elements()]
    return found + [f"event missing: {each}" for each in (expected - events).elements()]


def rows_of(folder: Path) -> list[dict[str, str]]:
    """The rows of `metrics.csv` without the times."""
    with (folder / "metrics.csv").open(newline="") as stream:
        return [{name: row[name] for name in row if name not in TIMES} for row in csv.DictReader(stream)]


def results_of(folder: Path) -> dict[str, Any]:
    """The numbers of `results.json` without the times."""
    results = json.loads((folder / "results.json").read_text())
    return {name: results[name] for name in results if name not in TIMES}


def events_of(folder: Path) -> list[tuple[str, int, str]]:
    """Return every value in TensorBoard's files: tag, step and content; images and graphs by kind only."""
    found = []
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for event in EventFileLoader(str(path)).Load():
            if event.HasField("graph_def"):
                found.append(("graph", event.step, ""))
            for value in event.summary.value:
                kind = value.metadata.plugin_data.plugin_name
                content = str(value.tensor.float_val) if value.tensor.float_val else ""
                found.append((value.tag, event.step, content or kind))
    return sorted(found)


def _same(one: torch.Tensor | None, two: torch.Tensor | None) -> bool:
    return one is not None and two is not None and torch.equal(one, two)
