"""The images of the page: sheets in the order of the list of mistakes, with the calibrated probabilities."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from firstlight.app.service import Service
from firstlight.export.bundle import Bundle
from firstlight.export.image_sheet import read_sheet
from firstlight.export.web import image_sheets
from firstlight.export.web.image_sheets import write_mistakes, write_sheets


def test_sheets_hold_all_images_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_sheets, "MAX_PIXELS", 7 * 6 * 40)  # 40 images of 7x6 pixels
    images = torch.randint(0, 256, (97, 3, 7, 6), dtype=torch.uint8)
    sheets = write_sheets(tmp_path, "some", images)
    assert [sheet["count"] for sheet in sheets] == [40, 40, 17]
    found = [read_sheet(tmp_path / sheet["file"], sheet["count"], (7, 6)) for sheet in sheets]
    assert torch.equal(torch.cat(found), images)
    assert [sheet["columns"] for sheet in sheets] == [32, 32, 17]


def test_the_list_of_mistakes_is_that_of_the_app(bundle: Bundle, tmp_path: Path) -> None:
    write_mistakes(bundle, tmp_path)
    content = json.loads((tmp_path / "mistakes.json").read_text())
    service = Service(bundle)
    expected = [item for number in (1, 2, 3) for item in service.mistakes(page=number).items][: len(content["items"])]
    (sheet,) = content["sheets"]
    pixels = read_sheet(tmp_path / sheet["file"], sheet["count"], bundle.size_px)
    assert sheet["count"] == len(content["items"]) == len(bundle.mistakes.predictions)
    for found, image, item in zip(content["items"], pixels, expected, strict=False):
        assert bundle.class_names[found["predicted"]] == item.predicted_name
        assert bundle.class_names[found["true"]] == item.true_name
        assert found["predicted_probability"] == pytest.approx(item.mistake.predicted_probability, abs=1e-4)
        assert found["true_probability"] == pytest.approx(item.mistake.true_probability, abs=1e-4)
        assert found["name"] == item.mistake.name
        assert torch.equal(image, torch.from_numpy(item.pixels))


def test_own_images_keep_their_file_names(bundle: Bundle, tmp_path: Path) -> None:
    names = tuple(f"<b>{number}</b>.png" for number in range(len(bundle.mistakes.images)))
    copy = Bundle(bundle.path)
    labelled = copy.mistakes
    copy.__dict__["mistakes"] = replace(labelled, images=replace(labelled.images, file_names=names))
    write_mistakes(copy, tmp_path)
    found = [item["name"] for item in json.loads((tmp_path / "mistakes.json").read_text())["items"]]
    assert sorted(found) == sorted(names)
