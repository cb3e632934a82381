"""The HTML of the tabs: its content, that it is well formed, and that no text becomes markup."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from PIL import Image

from firstlight.app.model_tab import confusion_table, model_panel
from firstlight.app.panels import examples_panel, header, mistakes_panel, notes_panel, prediction_panel, refusal_panel
from firstlight.app.service import ExplainedPrediction, MapOptions, Service
from firstlight.evaluation.picture_prediction import Prediction
from firstlight.evaluation.tta_views import Views
from firstlight.export.bundle import Bundle
from firstlight.export.model_facts import NUM_VIEWS
from firstlight.plots.overlay import has_evidence, overlay
from reference.tiny import CLASS_NAMES, tiny_split

VOID = {"img", "br", "input"}


class Tree(HTMLParser):
    """Collects tags and text, and checks that every tag is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def images(self) -> list[np.ndarray]:
        found = []
        for tag, attributes in self.tags:
            if tag == "img":
                content = base64.b64decode(str(attributes["src"]).partition("base64,")[2])
                found.append(np.asarray(Image.open(io.BytesIO(content)).convert("RGB")))
        return found


@pytest.fixture(scope="module")
def service(bundle: Bundle) -> Service:
    return Service(bundle)


@pytest.fixture(scope="module")
def answer(service: Service) -> ExplainedPrediction:
    return service.predict(tiny_split("test").images[0], explained="blue")


def test_the_panel_shows_what_the_model_saw_and_the_two_layers_of_the_map_pixel_for_pixel(
    answer: ExplainedPrediction,
) -> None:
    assert answer.evidence is not None
    tree = Tree(prediction_panel(answer, 3))
    seen, grey, colours, _ = tree.images()
    np.testing.assert_array_equal(seen, answer.pixels.transpose(1, 2, 0))
    np.testing.assert_array_equal(grey, overlay(answer.pixels, answer.evidence, 0.0))
    np.testing.assert_array_equal(colours, overlay(answer.pixels, answer.evidence, 1.0))


def test_blending_the_two_layers_is_the_overlay_at_that_opacity(answer: ExplainedPrediction) -> None:
    assert answer.evidence is not None
    _, grey, colours, _ = (each.astype(float) for each in Tree(prediction_panel(answer, 3)).images())
    for opacity in (0.2, 0.6):
        blended = (1 - opacity) * grey + opacity * colours
        assert np.abs(blended - overlay(answer.pixels, answer.evidence, opacity)).max() <= 1


@pytest.mark.parametrize("num_classes", [1, 3, 4, 10])
def test_the_bars_show_the_most_probable_classes_in_order(answer: ExplainedPrediction, num_classes: int) -> None:
    text = prediction_panel(answer, num_classes)
    names = re.findall(r'class="fl-name">([^<]+)<', text)
    lengths = [float(each) / 100 for each in re.findall(r'style="width:([\d.]+)%"', text)]
    top = answer.prediction.top(num_classes)
    assert names == [name for name, _ in top]
    assert lengths == pytest.approx([share for _, share in top], abs=1e-4)


def test_the_warning_appears_for_novel_pictures_only(answer: ExplainedPrediction) -> None:
    assert "Unlike the training data" in prediction_panel(replace(answer, is_novel=True), 3)
    for told in (False, None):
        assert "Unlike the training data" not in prediction_panel(replace(answer, is_novel=told), 3)


def test_a_map_without_positive_evidence_is_labelled(answer: ExplainedPrediction) -> None:
    against = replace(answer, evidence=-np.ones((16, 16), np.float32))
    text = prediction_panel(against, 3)
    assert "No positive evidence for this class" in text
    assert "fl-map" not in text


def test_without_a_map_there_is_one_figure_and_no_scale(service: Service) -> None:
    text = prediction_panel(service.predict(tiny_split("test").images[0], MapOptions(None)), 3)
    assert text.count("<figure>") == 1
    assert "fl-scale" not in text


def test_names_of_classes_and_files_never_become_markup(answer: ExplainedPrediction) -> None:
    evil = '<script>alert("1")</script>'
    odd = replace(answer, prediction=Prediction({evil: 0.9, "b&c": 0.1}), explained=evil)
    for text in (prediction_panel(odd, 2), notes_panel([evil]), refusal_panel(evil)):
        tree = Tree(text)
        assert "script" not in [tag for tag, _ in tree.tags]
        assert evil in "".join(tree.text)


def test_each_example_is_a_button_with_its_index(bundle: Bundle) -> None:
    tree = Tree(examples_panel(bundle.examples))
    buttons = [attributes for tag, attributes in tree.tags if tag == "button"]
    assert [each["data-index"] for each in buttons] == ["0", "1", "2", "3"]
    assert [each["title"] for each in buttons] == list(CLASS_NAMES)
    for found, image in zip(tree.images(), bundle.examples.images, strict=True):
        np.testing.assert_array_equal(found, image.permute(1, 2, 0).numpy())


def test_the_mistakes_are_counted_and_each_names_both_classes(service: Service) -> None:
    page = service.mistakes()
    text = mistakes_panel(page, 83)
    assert f"<b>{page.num_wrong}</b> of 83 test images are misclassified" in text
    tree = Tree(text)
    num_coloured = sum(has_evidence(each) for item in page.items for each in item.maps or ())
    assert len(tree.images()) == 12 * 3 + num_coloured + 1, "image, two grey ones, their colours if any, the scale"
    assert text.count("No positive evidence for this class") == 24 - num_coloured
    first = page.items[0]
    assert f"says <b>{first.predicted_name}</b>" in text
    assert f"is <b>{first.true_name}</b>" in text
    plain = mistakes_panel(service.mistakes(options=MapOptions(None)), 83)
    assert len(Tree(plain).images()) == 12


def test_a_filter_shows_how_many_mistakes_match(service: Service) -> None:
    some = service.mistakes().items[0]
    page = service.mistakes(some.true_name, some.predicted_name)
    assert f"<b>{page.num_found}</b> of {page.num_wrong} mistakes" in mistakes_panel(page, 83)
    none = mistakes_panel(service.mistakes(some.true_name, some.true_name), 83)
    assert "<b>0</b> of" in none
    assert "No test image is misclassified in this way" in none


def test_the_model_tab_shows_the_measured_numbers_the_matrix_the_layers_and_the_drawing(bundle: Bundle) -> None:
    text = model_panel(bundle)
    measured = bundle.measured
    for number in (measured["test"]["single_view"], measured["test"]["averaged"]):
        assert f"<b>{number:.2%}</b>" in text
    assert f"{measured['calibration']['error_after']:.1%}" in text
    for kind, share in measured["novelty"]["detected"].items():
        assert re.search(rf"<td>{kind}, 500</td><td[^>]*>{share:.1%}</td>", text)
    for stage in bundle.network.stages:
        assert f"<td>{stage}." in text
    assert "data:image/svg+xml;base64," in text
    cells = re.findall(r'class="fl-(?:hit|miss)"[^>]*>(\d*)<', confusion_table(bundle))
    assert [int(each or 0) for each in cells] == [count for row in measured["confusion"] for count in row]
    Tree(text)
    Tree(header(bundle))


def test_a_hostile_bundle_cannot_write_markup(bundle: Bundle, tmp_path: Path) -> None:
    """A bundle may come from anyone: its class names and recipe are text."""
    evil = "<script>alert(1)</script>"
    copy = shutil.copytree(bundle.path, tmp_path / "copy")
    config = json.loads((copy / "config.json").read_text())
    config |= {"class_names": [evil, "b", "c", "d"], "recipe": {"name": evil}}
    (copy / "config.json").write_text(json.dumps(config))
    measured = json.loads((copy / "measured.json").read_text()) | {"data": evil}
    measured["novelty"]["detected"] = {evil: 0.5}
    measured["novelty"]["num_images"] = {evil: 5}
    (copy / "measured.json").write_text(json.dumps(measured))
    odd = Bundle(copy)
    service = Service(odd)
    texts = [model_panel(odd), header(odd), examples_panel(odd.examples), mistakes_panel(service.mistakes(), 83)]
    texts.append(prediction_panel(service.predict(torch.zeros(3, 16, 16, dtype=torch.uint8), explained=evil), 4))
    for text in texts:
        assert "<script" not in text.lower()
        Tree(text)


def test_every_kind_of_views_has_a_description() -> None:
    assert set(NUM_VIEWS) == set(get_args(Views)) - {"single"}
