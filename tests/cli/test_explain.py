"""`firstlight explain` and `predict --cam`: their figures, options and errors."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image

from firstlight.attribution import METHODS, Faithfulness, explain, method_names
from firstlight.cli import main, predict
from firstlight.data.source import SOURCES
from firstlight.evaluation.mistakes import MistakeFilter, MistakeOrder
from firstlight.networks import ResNet9
from firstlight.plots.mistake_sheet import percent
from firstlight.reports import trust
from firstlight.runs.run import Run
from reference.made_run import make_run
from reference.tiny import CLASS_NAMES, tiny_split


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture
def run(made: Run, tmp_path: Path, tiny: str) -> Run:
    """A copy of the run."""
    return Run(shutil.copytree(made.path, tmp_path / "run"))


def written_in(svg: Path) -> list[str]:
    """Return the texts of an SVG: matplotlib draws letters as paths and writes each text in a comment."""
    return re.findall(r"<!-- (.*?) -->", svg.read_text(encoding="utf-8"), flags=re.DOTALL)


def is_drawing(path: Path, *, wider_than: int = 400) -> bool:
    """Return whether a PNG file is complete, large and not blank."""
    with Image.open(path) as image:
        image.load()
        return image.format == "PNG" and image.width > wider_than and np.asarray(image.convert("L")).std() > 5


def tiles(run: Run, rows: list[int]) -> list[list[str]]:
    """Return the captions of the three tiles of each test image, from the predictions."""
    said = run.predictions
    shares = said.logits.softmax(dim=1)
    texts = []
    for row in rows:
        label, top = int(said.labels[row]), int(said.logits[row].argmax())
        says = [f"says {CLASS_NAMES[top]}", percent(float(shares[row, top]))]
        texts.append([f"test {row}", *says, f"is {CLASS_NAMES[label]}", percent(float(shares[row, label]))])
    return texts


def mistakes(run: Run) -> list[int]:
    """Return the misclassified rows, most confident first."""
    said = run.predictions
    order = said.logits.softmax(dim=1).amax(dim=1).sort(descending=True, stable=True).indices
    return [int(row) for row in order if said.logits[row].argmax() != said.labels[row]]


def drawn_tiles(svg: Path) -> list[list[str]]:
    texts = [text for text in map(unescape, written_in(svg)) if re.fullmatch(r"test \d+|says .*|is .*|[<>]?\d+%", text)]
    return [texts[start : start + 5] for start in range(0, len(texts), 5)]


def test_the_sheet_is_written_to_the_run_folder_and_its_path_printed(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", str(run.path), "--count", "1"]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{run.path / 'misclassified.png'}\n"
    assert printed.err == ""
    assert is_drawing(run.path / "misclassified.png")


def test_out_names_another_file_and_the_most_confident_mistakes_come_first(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "new" / "sheet.svg"
    assert main(["explain", str(run.path), "--count", "2", "--out", str(out)]) == 0
    assert drawn_tiles(out) == tiles(run, mistakes(run)[:2])
    assert any("grad_cam, stage residual3" in text for text in written_in(out))
    assert not (run.path / "misclassified.png").exists()


def test_true_and_predicted_choose_a_pair_of_classes(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "pair.svg"
    said = run.predictions
    first = mistakes(run)[-1]  # a pair of classes with a mistake
    pair = int(said.labels[first]), int(said.logits[first].argmax())
    chosen = [row for row in mistakes(run) if (int(said.labels[row]), int(said.logits[row].argmax())) == pair]
    true, predicted = (CLASS_NAMES[number] for number in pair)
    asked = ["--true", true, "--predicted", predicted, "--count", "2", "--out", str(out)]
    assert main(["explain", str(run.path), *asked]) == 0
    assert drawn_tiles(out) == tiles(run, chosen[:2])


def test_index_method_and_stage_are_used(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "chosen.svg"
    asked = ["--index", "82", "0", "--method", "layer_cam", "--stage", "layer1", "--out", str(out)]
    assert main(["explain", str(run.path), *asked]) == 0
    assert drawn_tiles(out) == tiles(run, [82, 0])
    assert any("layer_cam, stage layer1" in text for text in written_in(out))


@pytest.mark.parametrize("order", get_args(MistakeOrder))
def test_the_order_option_sets_the_order_of_the_filter(run: Run, tmp_path: Path, order: MistakeOrder) -> None:
    out = tmp_path / "ordered.svg"
    assert main(["explain", str(run.path), "--count", "3", "--order", order, "--out", str(out)]) == 0
    rows = MistakeFilter(3, order=order).rows(run.predictions, CLASS_NAMES)
    assert drawn_tiles(out) == tiles(run, rows.tolist())


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("--order size", "size"),
        ("--out sheet.txt", "--out sheet.txt: the name must end in .png, .svg, .pdf"),
        ("--true pink", "no class is called 'pink': choose one of red, green, blue, grey"),
        ("--predicted pink", "no class is called 'pink'"),
        ("--index 83", "no test image 83: the indices range from 0 to 82"),
        ("--index one", "Got value: one"),
        ("--count 0", "count must be an integer of 1 or more, not 0"),
        (
            "--true red --predicted red",
            "has the true class red and the predicted class red",
        ),
        ("--method magic", "choose one of grad_cam, grad_cam_pp, hires_cam, layer_cam"),
        ("--stage attic", "attic"),
        ("--evaluate --num_images 0", "num_images must be 1 or more, not 0"),
        ("--nonsense", "--nonsense"),
    ],
)
def test_a_wrong_option_is_one_line_and_status_2(
    run: Run,
    asked: str,
    says: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(run.path.iterdir())
    assert main(["explain", str(run.path), *asked.split()]) == 2
    printed = capsys.readouterr()
    assert says in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert sorted(run.path.iterdir()) == before


def test_a_run_without_a_mistake_prints_a_line_and_draws_nothing(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    said = run.predictions
    replace(said, labels=said.predicted).save(run.path / "predictions.npz")
    assert main(["explain", str(run.path)]) == 0
    assert capsys.readouterr().out == "nothing to show: all 83 test images are classified right\n"
    assert not (run.path / "misclassified.png").exists()


@pytest.mark.parametrize("damage", ["no run", "no predictions", "other predictions", "no data"])
def test_a_run_that_cannot_be_explained_is_one_line_and_status_2(
    run: Run, damage: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said, says = run.predictions, "firstlight test"
    if damage == "no run":
        (run.path / "recipe.yaml").unlink()
        says = "is not a run"
    elif damage == "no predictions":
        (run.path / "predictions.npz").unlink()
    elif damage == "other predictions":
        replace(said, **{name: getattr(said, name)[:50] for name in ("logits", "features", "labels", "ids")}).save(
            run.path / "predictions.npz"
        )
    else:
        monkeypatch.delitem(SOURCES, "tiny")
        says = "no data set is called 'tiny'"
    assert main(["explain", str(run.path)]) == 2
    printed = capsys.readouterr()
    assert says in printed.err
    assert printed.err.count("\n") == 1


@pytest.mark.filterwarnings("default")
def test_other_test_images_than_the_run_was_tested_on_are_a_warning_of_one_line(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    moved = replace(tiny_split("test"), images=255 - tiny_split("test").images)
    asked: list[Path] = []
    monkeypatch.setitem(SOURCES, "tiny", lambda path, split: asked.append(path) or moved)
    assert main(["explain", str(run.path), "--count", "1", "--data_dir", str(tmp_path / "moved")]) == 0
    assert asked == [tmp_path / "moved"]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("warning: ")
    assert "not the ones" in lines[0]


def test_evaluate_prints_and_stores_a_row_for_each_method_and_stage(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--evaluate", "--num_images", "4", "--seed", "2", "--methods", "hires_cam", "grad_cam"]
    assert main(["explain", str(run.path), *arguments]) == 0
    printed = capsys.readouterr().out
    words = [re.findall(r"[\w.]+", line) for line in printed.splitlines()]
    expected = [(stage, method) for stage in (*ResNet9.stages, "all") for method in ("hires_cam", "grad_cam", "random")]
    rows = [line for line in words if tuple(line[:2]) in expected]
    assert [tuple(line[:2]) for line in rows] == expected
    content = json.loads((run.path / "trust.json").read_text())
    assert (content["num_images"], content["seed"]) == (4, 2)
    for line, row in zip(rows, content["rows"], strict=True):
        assert line[2:5] == [f"{row[name]:.3f}" for name in ("deletion", "insertion", "randomization")]


@pytest.mark.parametrize(("options", "expected"), [([], tuple(METHODS)), (["--methods", "all"], method_names())])
def test_evaluate_measures_the_fast_methods_by_default_and_all_by_request(
    run: Run, monkeypatch: pytest.MonkeyPatch, options: list[str], expected: tuple[str, ...]
) -> None:
    measured = []

    def measure_trust(*arguments: object) -> list[Faithfulness]:
        measured.append(arguments[-1])
        return [Faithfulness(method, "prep", 0.1, 0.9, None, None, 0.1) for method in ("grad_cam", "random")]

    monkeypatch.setattr(trust, "measure_trust", measure_trust)
    assert main(["explain", str(run.path), "--evaluate", *options]) == 0
    assert measured == [expected]


def test_evaluate_compares_methods_that_explain_pixels_with_pixel_noise(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--evaluate", "--num_images", "2", "--methods", "occlusion", "eigen_cam"]
    assert main(["explain", str(run.path), *arguments]) == 0
    capsys.readouterr()
    rows = json.loads((run.path / "trust.json").read_text())["rows"]
    of_stages = [(stage, method) for stage in (*ResNet9.stages, "all") for method in ("eigen_cam", "random")]
    expected = [*of_stages, ("pixels", "occlusion"), ("pixels", "random")]
    assert [(row["stage"], row["method"]) for row in rows] == expected
    assert main(["explain", str(run.path), "--evaluate", "--methods", "cam"]) == 2
    assert "no method is called 'cam': choose one of grad_cam" in capsys.readouterr().err


@pytest.mark.parametrize("target", ["true", "contrast", "blue"])
def test_json_holds_the_maps_of_the_target(run: Run, capsys: pytest.CaptureFixture[str], target: str) -> None:
    row = mistakes(run)[0]
    said, images = run.predictions, tiny_split("test").images
    assert main(["explain", str(run.path), "--count", "1", "--target", target, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert (content["method"], content["stage"], content["target"]) == ("grad_cam", "residual3", target)
    (found,) = content["images"]
    label, top = int(said.labels[row]), int(said.logits[row].argmax())
    assert (found["index"], found["true"], found["predicted"]) == (row, CLASS_NAMES[label], CLASS_NAMES[top])

    def grad_cam_of(class_number: int) -> torch.Tensor:
        return explain(run.network, images[row : row + 1] / 255, target=class_number).maps[0]

    second = {"true": label, "contrast": label, "blue": CLASS_NAMES.index("blue")}[target]
    expected = grad_cam_of(top) - grad_cam_of(second) if target == "contrast" else grad_cam_of(second)
    np.testing.assert_allclose(found["maps"]["predicted"], grad_cam_of(top), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found["maps"][target], expected, rtol=1e-4, atol=1e-6)


def test_the_sheet_names_the_target_and_refuses_an_unknown_one(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "sheet.svg"
    assert main(["explain", str(run.path), "--count", "1", "--target", "contrast", "--out", str(out)]) == 0
    assert any(text.startswith("against ") for text in written_in(out))
    capsys.readouterr()
    assert main(["explain", str(run.path), "--target", "purple"]) == 2
    assert "no class is called 'purple': the target is true, contrast or one of" in capsys.readouterr().err


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    draw = np.random.default_rng(0)
    for name, mode, shape in (
        ("a.jpg", "RGB", (90, 120, 3)),
        ("b.png", "RGBA", (40, 25, 4)),
        ("c.bmp", "L", (16, 16)),
        ("d.gif", "P", (7, 200)),
    ):
        pixels = Image.fromarray(draw.integers(0, 256, shape, dtype=np.uint8))
        pixels.convert(mode).save(folder / name)
    return folder


def test_predict_cam_draws_photos_of_any_size_and_prints_the_predictions(
    run: Run, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "cam.png"
    asked = ["predict", str(photos), "--run", str(run.path), "--format", "json", "--top", "2"]
    assert main(asked) == 0
    without = capsys.readouterr().out
    assert main([*asked, "--cam", str(out)]) == 0
    assert capsys.readouterr().out == without
    assert is_drawing(out, wider_than=1000)
    with Image.open(out) as image:
        assert image.height > image.width, "four rows"


def test_many_classes_are_listed_below_each_other(
    run: Run, photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(predict, "MAX_COLUMNS", 3)
    assert main(["predict", str(photos / "b.png"), "--run", str(run.path), "--top", "4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    expected = [f"{name} {100 * share:.1f}%" for name, share in run.predict(photos / "b.png").top(4)]
    rows = [
        line.split("\N{BOX DRAWINGS LIGHT VERTICAL}") for line in lines if "\N{BOX DRAWINGS LIGHT VERTICAL}" in line
    ]
    found = [row[2].strip() for row in rows]
    assert [text for text in found if text] == expected


def test_predict_cam_names_pictures_classes_method_and_stage(run: Run, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "cam.svg"
    asked = ["--cam", str(out), "--top", "4", "--method", "hires_cam", "--stage", "all"]
    assert main(["predict", str(photos / "b.png"), "--run", str(run.path), *asked]) == 0
    texts = written_in(out)
    said = run.predict(photos / "b.png")
    assert {"b.png", "as the model sees it, 16x16", f"evidence for {said.label}"} <= set(texts)
    assert {f"{name}  {100 * share:.1f}%" for name, share in said.probabilities.items()} <= set(texts)
    assert any("hires_cam, stage all" in text for text in texts)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("--cam cam.txt", "--cam cam.txt: the name must end in .png, .svg, .pdf"),
        ("--cam cam.png --stage attic", "attic"),
        ("--cam cam.png --method magic", "choose one of grad_cam"),
    ],
)
def test_predict_cam_refuses_invalid_options_before_it_predicts(
    run: Run,
    photos: Path,
    asked: str,
    says: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["predict", str(photos), "--run", str(run.path), *asked.split()]) == 2
    printed = capsys.readouterr()
    assert says in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert not list(tmp_path.glob("*cam*"))


def test_more_pictures_than_fit_on_a_sheet_are_refused(
    run: Run, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(64):
        shutil.copy(photos / "c.bmp", photos / f"copy_{number}.bmp")
    assert main(["predict", str(photos), "--run", str(run.path), "--cam", str(tmp_path / "cam.png")]) == 2
    assert "up to 64 images on a sheet, not 68" in capsys.readouterr().err


def test_explaining_does_not_change_the_weights(run: Run) -> None:
    """The next verb reads the same weights file."""
    before = run.weights_path.read_bytes()
    assert main(["explain", str(run.path), "--index", "1", "--out", str(run.path / "one.png")]) == 0
    assert run.weights_path.read_bytes() == before
    assert torch.is_grad_enabled()
