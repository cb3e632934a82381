"""The map of the features: which images it shows, where, and that the pictures are theirs."""

from __future__ import annotations

import base64
import io
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from firstlight.errors import MissingPackageError, UsageError
from firstlight.evaluation.predictions import Predictions
from firstlight.reports import feature_map
from firstlight.reports.feature_map import choose_rows, make_feature_map, umap_coordinates
from firstlight.reports.html.sprites import make_sprite
from reference.tiny import tiny_split


def predictions_with(features: torch.Tensor, num_wrong: int) -> Predictions:
    labels = torch.arange(len(features)) % 4
    predicted = torch.where(torch.arange(len(features)) < num_wrong, (labels + 1) % 4, labels)
    return Predictions(
        9.0 * torch.nn.functional.one_hot(predicted, 4).float(), features, labels, torch.arange(len(features))
    )


def test_points_lie_where_the_principal_components_put_them():
    features = torch.zeros(83, 3)
    features[:, 1] = torch.arange(83)
    features[0, 2] = 20
    found = make_feature_map(tiny_split("test"), predictions_with(features, 5))
    assert found.points["index"] == list(range(83))
    steps = np.diff(found.points["x"])
    assert abs(steps[1:].mean()) == pytest.approx(1000 / 82, rel=0.02), "one direction holds nearly all the variance"
    assert min(found.points["x"]) == 0
    assert max(found.points["x"]) == 1000
    assert sum(found.explained) == pytest.approx(1.0)
    assert found.points["true"] == (torch.arange(83) % 4).tolist()


def test_mistakes_survive_the_thinning():
    predictions = predictions_with(torch.rand(83, 2), 10)
    rows = choose_rows(predictions, 30).tolist()
    assert len(rows) == len(set(rows)) == 30
    assert set(range(10)) <= set(rows)


@pytest.mark.parametrize("features", [torch.zeros(83, 0), torch.full((83, 2), float("nan"))])
def test_without_finite_features_there_is_no_map(features):
    assert make_feature_map(tiny_split("test"), predictions_with(features, 1)) is None


class FirstFeatures:
    """Stands for UMAP, whose package is large: places each image at its first two features."""

    def __init__(self, **options):
        self.options = options

    def fit_transform(self, features):
        assert self.options["n_neighbors"] < len(features)
        return features[:, :2]


def test_umap_places_the_points_and_has_no_share_of_variance(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=FirstFeatures, __spec__=object()))
    features = torch.rand(83, 5)
    found = make_feature_map(tiny_split("test"), predictions_with(features, 5), projection="umap")
    assert found.explained is None
    x = features[:, 0]
    order = x.argsort().tolist()
    assert np.all(np.diff(np.array(found.points["x"])[order]) >= 0)


@pytest.mark.parametrize("count", [1, 3])
def test_umap_of_too_few_images_is_their_principal_components(count):
    assert umap_coordinates(torch.rand(count, 7)).shape == (count, 2)


def test_a_missing_package_is_named_before_anything_is_computed(monkeypatch):
    monkeypatch.setattr(feature_map, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"firstlight\[umap\]"):
        make_feature_map(tiny_split("test"), predictions_with(torch.rand(83, 2), 5), projection="umap")


def test_an_unknown_projection_is_refused():
    with pytest.raises(UsageError, match="'tsne' is not known; choose one of pca, umap"):
        make_feature_map(tiny_split("test"), predictions_with(torch.rand(83, 2), 5), projection="tsne")


def test_a_sprite_holds_the_images_row_by_row():
    images = np.zeros((5, 3, 16, 20), np.uint8)
    for number in range(5):
        images[number] = 40 * number
    sprite = make_sprite(images)
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(sprite.uri.split(",")[1]))).convert("RGB"))
    assert picture.shape == (2 * 16, 3 * 20, 3)
    assert (sprite.columns, sprite.height, sprite.width) == (3, 16, 20)
    for number in range(5):
        top, left = number // 3 * 16, number % 3 * 20
        assert picture[top + 4 : top + 12, left + 4 : left + 16].mean() == pytest.approx(40 * number, abs=6)


def test_large_images_become_thumbnails_and_no_image_is_no_picture():
    sprite = make_sprite(np.zeros((1, 3, 96, 192), np.uint8))
    assert (sprite.height, sprite.width) == (24, 48)
    assert make_sprite(np.zeros((0, 3, 8, 8), np.uint8)).uri == ""
