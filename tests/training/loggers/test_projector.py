"""TensorBoard's projector: the files that it reads, and what they hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from firstlight.evaluation.predictions import Predictions
from firstlight.training.loggers.projector import add_features
from reference.tiny import tiny_split


def test_the_projector_gets_features_classes_and_pictures_and_a_second_test_replaces_them(tmp_path, capsys):
    images = tiny_split("test")
    images = replace(images, class_names=("red\tpaint", "green", "blue", "grey"))
    logits = 9.0 * torch.nn.functional.one_hot((images.labels + (images.ids == 7)) % 4, 4).float()
    features = torch.randn(83, 6, generator=torch.Generator().manual_seed(0))
    predictions = Predictions(logits, features, images.labels, images.ids)
    with SummaryWriter(tmp_path) as writer:
        for _ in range(2):
            add_features(writer, images, predictions, step=12)
    assert capsys.readouterr().out == ""
    config = (tmp_path / "projector_config.pbtxt").read_text()
    assert config.count("embeddings {") == 1
    (folder,) = tmp_path.glob("*/features")
    header, *rows = [line.split("\t") for line in (folder / "metadata.tsv").read_text().splitlines()]
    assert header == ["true", "predicted", "verdict", "index"]
    assert rows[0] == ["red paint", "red paint", "right", "0"]
    assert [row for row in rows if row[2] == "wrong"] == [["grey", "red paint", "wrong", "7"]]
    coordinates = np.loadtxt(folder / "tensors.tsv")
    distances = torch.cdist(features.double(), features.double())
    found = torch.from_numpy(coordinates)
    torch.testing.assert_close(torch.cdist(found, found), distances, atol=1e-4, rtol=1e-4)
    assert Image.open(folder / "sprite.png").size == (160, 160), "ten by ten images of 16 pixels"


def test_features_that_are_missing_or_not_finite_are_left_out(tmp_path):
    images = tiny_split("test")
    with SummaryWriter(tmp_path) as writer:
        for features in (torch.zeros(83, 0), torch.full((83, 2), float("inf"))):
            add_features(writer, images, Predictions(torch.zeros(83, 4), features, images.labels, images.ids), 0)
    assert not (tmp_path / "projector_config.pbtxt").exists()
