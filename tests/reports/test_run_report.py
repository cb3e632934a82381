"""The HTML report: its numbers, its links, and that names of any kind stay text."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qs

import pytest
import torch
from torchmetrics.functional.classification import multiclass_confusion_matrix

from firstlight.errors import RunError
from firstlight.evaluation.calibration import Calibration
from firstlight.evaluation.predictions import Predictions
from firstlight.reports.report_page import MAX_MATRIX_CLASSES, most_confused_classes
from firstlight.reports.run_report import write_report
from firstlight.runs.run import Run
from reference.made_run import make_run, say
from reference.tiny import CLASS_NAMES, tiny_split

HOSTILE = (
    "<script>alert(1)</script>",
    '" onmouseover="alert(1)" x="',
    "</script><img src=http://example.org/x onerror=alert(1)> & &amp; #=%",
    "\u202egnp.exe \u05d0\u05d1 " + "w" * 200,
)


class Elements(HTMLParser):
    """Every element with its attributes, and the texts of scripts and table cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.is_open = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.texts.setdefault(tag, []).append("")
        self.is_open = True

    def handle_data(self, data):
        if self.is_open:
            self.texts[self.elements[-1][0]][-1] += data

    def handle_endtag(self, tag):
        self.is_open = False

    def attributes(self, tag: str, name: str) -> list[str]:
        return [attributes[name] for found, attributes in self.elements if found == tag and name in attributes]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(Path(tmp_path_factory.mktemp("run")))


@pytest.fixture(scope="module")
def page(run: Run) -> Elements:
    path = write_report(run, tiny_split("test"))
    assert path == run.path / "report.html"
    return Elements(path.read_text())


def matrix_links(page: Elements) -> dict[tuple[str, str], int]:
    """The counts of the confusion matrix by true and predicted class, from the links and their labels."""
    found = {}
    for tag, attributes in page.elements:
        if tag == "a" and "true=" in (attributes["href"] or ""):
            query = parse_qs(attributes["href"][1:])
            found[query["true"][0], query["predicted"][0]] = int(
                re.search(r": ([\d,]+) images?$", attributes["aria-label"])[1]
            )
    return found


def test_the_matrix_counts_are_those_of_the_predictions(run, page):
    predictions = run.predictions
    matrix = multiclass_confusion_matrix(predictions.logits.argmax(dim=1), predictions.labels, 4).tolist()
    expected = {
        (CLASS_NAMES[true], CLASS_NAMES[predicted]): count
        for true, row in enumerate(matrix)
        for predicted, count in enumerate(row)
        if count
    }
    assert matrix_links(page) == expected


def test_the_page_requests_nothing_and_allows_no_other_script(page):
    assert all(address.startswith("data:") for address in page.attributes("img", "src"))
    assert not page.attributes("script", "src")
    assert "link" not in page.texts
    policy = next(content for content in page.attributes("meta", "content") if "default-src" in content)
    digest = base64.b64encode(hashlib.sha256(page.texts["script"][1].encode()).digest()).decode()
    assert policy == (f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'")


def test_the_embedded_data_hold_every_class_and_image(run, page):
    data = json.loads(page.texts["script"][0])
    assert data["classes"] == list(CLASS_NAMES)
    assert len(data["entries"]) >= len(run.predictions.misclassified())
    assert sum(data["confusion"].values()) == len(run.predictions)


def test_probabilities_are_calibrated(tmp_path):
    """They are those that `explain` and the app show, at the run's temperature."""
    (tmp_path / "run").mkdir()
    run = make_run(tmp_path / "run")
    run.save_weights(run.network, tiny_split("test"), Calibration(0.1, -2.0, 9))
    run = Run(run.path)
    page = Elements(write_report(run, tiny_split("test"), path=tmp_path / "r.html").read_text())
    (data,) = [json.loads(text) for text in page.texts["script"] if text.lstrip().startswith("{")]
    expected = (run.predictions.logits / 0.1).softmax(dim=1)
    for entry in data["entries"]:
        shares = expected[entry["index"]]
        assert entry["confidence"] == pytest.approx(float(shares.max()), abs=1e-3)
        assert entry["true_probability"] == pytest.approx(float(shares[entry["true"]]), abs=1e-3)
    assert len(data["entries"]) > 1


def test_hostile_names_stay_text(tmp_path):
    run, images = make_run(tmp_path), tiny_split("test")
    files = tuple(f"{HOSTILE[row % 4]}/{row}.png" for row in range(len(images)))
    images = replace(images, class_names=HOSTILE, file_names=files)
    run.save_weights(run.network, images)
    page = Elements(write_report(Run(tmp_path), images).read_text())
    assert len(page.texts["script"]) == 2
    assert all(address.startswith("data:") for address in page.attributes("img", "src"))
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    data = json.loads(page.texts["script"][0])
    assert data["classes"] == list(HOSTILE)
    assert all(entry["file"] == files[entry["index"]] for entry in data["entries"])
    assert files[data["entries"][0]["index"]] in page.texts["bdi"], "the list for browsers without JavaScript"
    assert page.attributes("option", "value")[3:7] != []
    assert set(HOSTILE) <= set(page.attributes("option", "value"))
    assert {true for true, _ in matrix_links(page)} <= set(HOSTILE)


def with_predictions(folder: Path, logits: torch.Tensor, labels: torch.Tensor) -> Run:
    run = make_run(folder)
    Predictions(logits, torch.zeros(len(labels), 1), labels, torch.arange(len(labels))).save(folder / "predictions.npz")
    return Run(run.path)


def test_a_run_without_mistakes(tmp_path):
    images = tiny_split("test")
    run = with_predictions(tmp_path, 9.0 * torch.nn.functional.one_hot(images.labels, 4).float(), images.labels)
    text = write_report(run, images, train=tiny_split("train")).read_text()
    assert "0 images are misclassified" in text
    assert "<strong>100.00&nbsp;%</strong>" in text


def test_one_test_image(tmp_path):
    images = tiny_split("test")[torch.tensor([5])]
    run = with_predictions(tmp_path, torch.tensor([[1.0, 2.0, 3.0, 0.0]]), images.labels)
    assert "1 image is misclassified" in write_report(run, images).read_text()


def test_of_many_classes_the_matrix_shows_those_with_the_most_mistakes():
    matrix = torch.eye(150, dtype=torch.int64)
    matrix[149, 148] = 3
    labels = most_confused_classes(matrix)
    assert labels == [*range(MAX_MATRIX_CLASSES - 2), 148, 149]


def test_a_planted_weak_slice_is_found_and_its_images_are_marked(tmp_path):
    """The images of one class are darker, and the network misclassifies them."""
    images = tiny_split("test")
    dimmed = images.labels == 1
    images = replace(images, images=torch.where(dimmed[:, None, None, None], images.images // 4, images.images))
    predicted = torch.where(dimmed, 0, images.labels)
    run = with_predictions(tmp_path, 9.0 * torch.nn.functional.one_hot(predicted, 4).float(), images.labels)
    page = Elements(write_report(run, images).read_text())
    names = page.texts["a"]
    assert {"class: green", "brightness: lowest fifth"} <= set(names)
    data = json.loads(page.texts["script"][0])
    number = next(
        int(attributes["href"].removeprefix("#slice="))
        for (tag, attributes), text in zip(
            [element for element in page.elements if element[0] == "a"], names, strict=True
        )
        if text == "class: green"
    )
    assert {entry["true"] for entry in data["entries"] if number in entry["slices"]} == {1}


def test_the_trust_table_marks_the_shown_maps_and_those_no_better_than_noise(tmp_path):
    run = make_run(tmp_path)
    values = {"stage": "residual3", "insertion": 0.5, "energy_inside": None, "pointing": None, "randomization": 0.1}
    rows = [{"method": "grad_cam", "deletion": 0.7}, {"method": "hires_cam", "deletion": 0.2}]
    run.save_json("trust.json", {"rows": [values | row for row in [*rows, {"method": "random", "deletion": 0.4}]]})
    page = Elements(write_report(run, tiny_split("test"), method="grad_cam").read_text())
    assert [row.get("class") for tag, row in page.elements if tag == "tr" and "aria-current" in row] == ["marked"]
    cells = page.texts["td"]
    start = cells.index("grad_cam")
    assert cells[start : start + 7] == ["grad_cam", "0.700", "0.500", *["not measured"] * 2, "0.100", "deletion"]
    start = cells.index("hires_cam")
    assert cells[start : start + 7] == ["hires_cam", "0.200", "0.500", *["not measured"] * 2, "0.100", ""]


def test_each_mistake_names_its_nearest_and_most_influential_training_images(run):
    train, predictions = tiny_split("train"), run.predictions
    page = Elements(write_report(run, tiny_split("test"), run.path / "other.html", train=train).read_text())
    data = json.loads(page.texts["script"][0])
    known = say(run.network, train)
    wrong = len(predictions.misclassified())
    assert [("nearest" in entry) for entry in data["entries"]] == [row < wrong for row in range(len(data["entries"]))]
    for entry in data["entries"][:3]:
        distances = (known.features - predictions.features[entry["index"]]).norm(dim=1)
        shown = [(data["training"]["images"][position], distance) for position, distance in entry["nearest"]]
        assert [image["index"] for image, _ in shown] == distances.argsort(stable=True)[:5].tolist()
        assert [distance for _, distance in shown] == pytest.approx(distances.sort().values[:5].tolist(), rel=1e-3)
        assert all(image["label"] == int(train.labels[image["index"]]) for image, _ in shown)
        assert len(entry["influential"]) == 2
    assert "the nearest of 192 training images" in Path(run.path / "other.html").read_text(encoding="utf-8")


def test_the_page_chooses_the_measured_maps_and_says_why(tmp_path):
    run = make_run(tmp_path)
    values = {"insertion": 0.5, "energy_inside": None, "pointing": None, "randomization": 0.1}
    rows = [
        {"stage": stage, "method": method, "deletion": deletion}
        for stage, method, deletion in [
            *(("layer3", "hires_cam", 0.1), ("layer3", "random", 0.4)),
            *(("residual3", "grad_cam", 0.3), ("residual3", "random", 0.4)),
        ]
    ]
    run.save_json("trust.json", {"rows": [values | row for row in rows]})
    text = write_report(run, tiny_split("test")).read_text()
    assert "The maps are those of hires_cam at stage layer3." in text
    assert "The maps of hires_cam at stage layer3 have the best mean rank" in text


def test_a_damaged_trust_table_is_named(tmp_path):
    run = make_run(tmp_path)
    (tmp_path / "trust.json").write_text('{"rows": [{"method": "grad_cam"}]}')
    with pytest.raises(RunError, match=r"trust\.json.*--evaluate"):
        write_report(run, tiny_split("test"))


def test_predictions_of_other_images_are_refused(run):
    images = tiny_split("test")
    with pytest.raises(RunError, match="run `firstlight test"):
        write_report(run, images[torch.arange(10)])
    with pytest.raises(RunError, match="run `firstlight test"):
        write_report(run, replace(images, labels=images.labels.roll(1)))


def test_a_run_of_an_earlier_version_can_be_reported(tmp_path):
    """Such a run lacks curves, class metrics, and entries of its environment."""
    run = make_run(tmp_path)
    run.save_json("environment.json", {"data": run.data})
    run.save_json("results.json", {"test_acc": 0.5})
    assert "Confusion matrix" in write_report(Run(tmp_path), tiny_split("test")).read_text()
