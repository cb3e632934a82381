"""The sheet of predictions for a user's pictures, against a plain pass through the network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from firstlight.attribution import explain
from firstlight.data.preprocess import to_pixels
from firstlight.errors import UsageError
from firstlight.plots.overlay import overlay
from firstlight.reports.explained_predictions import MAX_PICTURE_PX, draw_predictions
from firstlight.runs.run import Run
from reference.made_run import make_run

PHOTOS = {
    "wide.png": (MAX_PICTURE_PX * 2, MAX_PICTURE_PX),
    "tall.jpg": (30, 90),
    "as_trained.bmp": (16, 16),
}  # width, height


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photos")
    for number, (name, (width, height)) in enumerate(PHOTOS.items()):
        pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return [folder / name for name in PHOTOS]


@pytest.mark.parametrize(("method", "stage"), [("grad_cam", None), ("layer_cam", "residual1")])
def test_each_picture_is_drawn_with_its_input_its_map_and_its_classes(
    run: Run, paths: list[Path], method: str, stage: str | None
) -> None:
    figure = draw_predictions(run, paths, run.predict_many(paths), top=2, method=method, stage=stage)
    for row, path in enumerate(paths):
        picture, seen, evidence, bars = figure.axes[4 * row : 4 * row + 4]
        pixels = to_pixels(path, (16, 16))
        shares = run.network(pixels[None] / 255).softmax(dim=1)[0].detach()
        said = int(shares.argmax())
        np.testing.assert_array_equal(seen.images[0].get_array(), pixels.permute(1, 2, 0))
        found = explain(run.network, pixels[None] / 255, method=method, stage=stage, target=torch.tensor([said]))
        drawn = np.asarray(evidence.images[0].get_array(), dtype=int)
        np.testing.assert_allclose(drawn, overlay(pixels.numpy(), found.upsampled()[0].numpy()), atol=4)
        assert evidence.get_title() == f"evidence for {run.class_names[said]}"
        assert picture.get_title() == path.name
        top = shares.topk(2)
        assert [bar.get_width() for bar in bars.patches] == pytest.approx(top.values.tolist(), abs=1e-5)
        assert [text.get_text().split()[0] for text in bars.texts] == [run.class_names[i] for i in top.indices]
    shown = [figure.axes[4 * row].images[0].get_array().shape for row in range(3)]
    assert shown == [(MAX_PICTURE_PX // 2, MAX_PICTURE_PX, 3), (90, 30, 3), (16, 16, 3)], (
        "large pictures only are made smaller"
    )
    assert f"{method}, stage {stage or 'residual3'}" in figure.axes[-1].get_xlabel()


@pytest.mark.parametrize(("method", "stage"), [("magic", None), ("grad_cam", "attic")])
def test_an_unknown_method_or_stage_is_refused_in_one_line(
    run: Run, paths: list[Path], method: str, stage: str | None
) -> None:
    with pytest.raises(UsageError) as caught:
        draw_predictions(run, paths[:1], run.predict_many(paths[:1]), top=1, method=method, stage=stage)
    assert "\n" not in str(caught.value)
