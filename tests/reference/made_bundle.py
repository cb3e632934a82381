"""A bundle that is made quickly, from a run on the tiny data set whose head is fitted to a few images."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from firstlight.data.source import SOURCES
from firstlight.export.build_bundle import build_bundle
from firstlight.export.bundle import Bundle
from firstlight.runs.run import Run
from reference.made_run import make_run, say, unlearned
from reference.tiny import tiny_split

NUM_FITTED = 20  # few enough for mistakes, many enough for mostly correct predictions


def make_fitted_run(folder: Path) -> Run:
    """Leave the run of `make_run`, its head solved by least squares instead of training."""
    run, train, test = make_run(folder), tiny_split("train"), tiny_split("test")
    network = unlearned(train)
    few = train[:NUM_FITTED]
    with torch.no_grad():
        features = network.features(few.images / 255)
        wanted = 6 * F.one_hot(few.labels).float() - 2
        gram = features.T @ features + 0.5 * torch.eye(features.shape[1])
        network.head.weight.copy_(torch.linalg.solve(gram, features.T @ wanted).T)
    run.save_weights(network, train)
    said = say(network, test)
    said.save(folder / "predictions.npz")
    run.save_json("results.json", {"test_acc": said.accuracy})
    return Run(folder)


def make_tiny_bundle(folder: Path) -> tuple[Run, Bundle]:
    """Leave a run in `folder/run` and its bundle in `folder/bundle`."""
    (folder / "run").mkdir()
    run = make_fitted_run(folder / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SOURCES, "tiny", lambda data_dir, split: tiny_split(split))
        return run, build_bundle(run, folder / "bundle")
