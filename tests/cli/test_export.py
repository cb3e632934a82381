"""`firstlight export`: its folders and its errors."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from firstlight.cli import main
from firstlight.data.source import SOURCES
from firstlight.export import bundle as bundle_module
from firstlight.export.bundle import Bundle
from firstlight.extras import install_command
from firstlight.runs.pretrained import Pretrained
from firstlight.runs.run import Run
from reference.made_bundle import make_fitted_run
from reference.made_run import unlearned
from reference.tiny import tiny_split


@pytest.fixture
def run(tmp_path: Path, tiny: str) -> Run:
    (tmp_path / "run").mkdir()
    return make_fitted_run(tmp_path / "run")


def test_a_run_is_measured_once_and_exported_from_its_bundle(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = tmp_path / "deep" / "hub"
    assert main(["export", str(run.path), "--to", "hub", str(hub)]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{hub}\n"
    assert f"the bundle is kept in {run.path / 'bundle'}" in printed.err
    assert Pretrained.from_pretrained(hub).class_names == run.class_names
    monkeypatch.delitem(SOURCES, "tiny")  # nothing is measured again, so the data set is not needed
    assert main(["export", str(run.path), "--to", "bundle", str(tmp_path / "copy")]) == 0
    assert capsys.readouterr().err.count("\n") == 1, "only the warning of images: nothing is measured again"
    assert Bundle(tmp_path / "copy").measured == Bundle(run.path / "bundle").measured


def test_new_weights_are_measured_again(run: Run, tmp_path: Path) -> None:
    assert main(["export", str(run.path), "--to", "hub", str(tmp_path / "first")]) == 0
    run.save_weights(unlearned(tiny_split("train")), tiny_split("train"))
    assert main(["export", str(run.path), "--to", "hub", str(tmp_path / "second")]) == 0
    first, second = (Bundle(run.path / "bundle").path / "model.safetensors", tmp_path / "first" / "model.safetensors")
    assert first.read_bytes() != second.read_bytes()


def test_a_bundle_without_a_folder_becomes_the_packages_own(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "package" / "bundled"
    monkeypatch.setattr(bundle_module, "BUNDLED_PATH", path)
    for _ in range(2):  # it is replaced without --overwrite
        assert main(["export", str(run.path), "--to", "bundle"]) == 0
        assert capsys.readouterr().out == f"{path}\n"
    assert main(["export", "bundled", "--to", "hub", str(tmp_path / "hub")]) == 0
    assert Pretrained(tmp_path / "hub").class_names == run.class_names


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("RUN --to hub", "--to hub needs one folder: firstlight export RUN --to hub DIR"),
        ("RUN --to space a b", "--to space needs one folder"),
        ("RUN --to cloud DIR", "--to cloud: choose one of hub, space, web, onnx, bundle"),
        ("RUN", "required: to"),
        ("RUN --to hub RUN", "is not empty: name a new folder, or replace what is in it with --overwrite"),
        ("nowhere --to hub DIR", "nowhere is neither a run nor a bundle"),
        ("bundled --to hub DIR", "contains no trained model"),
        ("RUN --to hub DIR --data_dir nowhere --calibrate_on nowhere", "nowhere"),
        ("RUN --to hub DIR --nonsense", "--nonsense"),
        ("RUN --to hub DIR --without_images", "--without_images does nothing for hub"),
        ("RUN --to onnx DIR --without_images", "--without_images does nothing for onnx"),
        ("RUN --to hub DIR --weights int8", "--weights does nothing for hub: it is for --to onnx"),
        ("RUN --to onnx DIR --weights int4", "--weights int4: choose one of float32, float16, int8"),
        ("RUN --to space DIR --license MIT!", "--license MIT!: name it by its identifier, for instance mit"),
    ],
)
def test_a_run_that_cannot_be_exported_is_one_line_and_status_2(
    run: Run,
    asked: str,
    says: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bundle_module, "BUNDLED_PATH", tmp_path / "none")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    arguments = [{"RUN": str(run.path), "DIR": "new"}.get(word, word) for word in asked.split()]
    assert main(["export", *arguments]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("firstlight export: ")
    assert says in line
    assert sorted(tmp_path.rglob("*")) == before


def test_overwrite_replaces_an_earlier_export(run: Run, tmp_path: Path) -> None:
    hub = tmp_path / "hub"
    assert main(["export", str(run.path), "--to", "hub", str(hub)]) == 0
    (hub / "config.json").write_text("{}")
    (hub / "mine.txt").write_text("kept")
    assert main(["export", str(run.path), "--to", "hub", str(hub), "--overwrite"]) == 0
    assert Pretrained(hub).class_names == run.class_names
    assert (hub / "mine.txt").read_text() == "kept"


def test_a_run_whose_data_set_is_missing_is_an_error(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(SOURCES, "tiny")
    assert main(["export", str(run.path), "--to", "hub", str(tmp_path / "hub")]) == 2
    assert "tiny" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "hub").exists()
    assert not (run.path / "bundle").exists()


def test_predict_takes_an_exported_folder_and_the_packages_own_model_last(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from reference.hostile import GOOD

    photo, hub = tmp_path / "photo.png", tmp_path / "hub"
    photo.write_bytes(GOOD["rgb.png"]())
    assert main(["export", str(run.path), "--to", "hub", str(hub)]) == 0
    asked = ["predict", str(photo), "--format", "csv", "--logs_dir", str(tmp_path / "logs")]
    capsys.readouterr()
    assert main([*asked, "--run", str(hub), "--cam", str(tmp_path / "cam.png")]) == 0
    expected = capsys.readouterr().out
    assert (tmp_path / "cam.png").stat().st_size > 1000
    monkeypatch.setattr(bundle_module, "BUNDLED_PATH", run.path / "bundle")
    assert main(asked) == 0
    assert capsys.readouterr().out == expected.replace(f"false,{hub},", "false,bundled,")
    shutil.copytree(run.path, tmp_path / "logs" / "made" / "version_0", ignore=shutil.ignore_patterns("bundle"))
    assert main(asked) == 0
    assert capsys.readouterr().out != expected, "a run in logs goes first; its weights are not rounded"
    monkeypatch.setattr(bundle_module, "BUNDLED_PATH", tmp_path / "none")
    assert main([*asked, "--logs_dir", str(tmp_path / "no logs")]) == 2
    line = capsys.readouterr().err
    assert "firstlight demo" in line
    assert "contains no trained model" in line
    assert line.count("\n") == 1


@pytest.fixture
def private_run(run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The run, recorded as trained on a folder of the user's images."""
    monkeypatch.setitem(SOURCES, "folder", lambda _, split: tiny_split(split))
    replace(run.recipe, data="folder").save(run.path / "recipe.yaml")
    data = run.data | {"name": "my_photos"}
    run.save_json("environment.json", run.environment | {"data": data})
    return Run(run.path)


@pytest.mark.parametrize("kind", ["space", "bundle"])
def test_private_images_cause_a_warning_before_they_are_written_and_can_be_left_out(
    kind: str, private_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["export", str(private_run.path), "--to", kind]
    assert main([*asked, str(tmp_path / "with")]) == 0
    num_wrong = len(private_run.predictions.misclassified())
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert len(lines) == 1
    assert f"test images of my_photos (4 examples, {num_wrong} misclassified)" in lines[0]
    assert "--without_images" in lines[0]
    assert main([*asked, str(tmp_path / "without"), "--without_images"]) == 0
    assert "warning" not in capsys.readouterr().err
    folder = tmp_path / "without" / ("model" if kind == "space" else "")
    shared = Bundle(folder)
    assert len(shared.examples) == len(shared.mistakes.images) == 0
    for path in folder.glob("*.png"):
        with Image.open(path) as sheet:
            assert sheet.convert("L").getextrema() == (0, 0), f"{path.name} shows something"
    assert shared.measured == Bundle(private_run.path / "bundle").measured


def test_published_images_cause_no_warning(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SOURCES, "drawn", lambda _, split: tiny_split(split))
    replace(run.recipe, data="drawn").save(run.path / "recipe.yaml")
    assert main(["export", str(run.path), "--to", "bundle", str(tmp_path / "copy")]) == 0
    assert "warning" not in capsys.readouterr().err


def test_the_card_of_a_folder_claims_no_official_split_and_no_licence(private_run: Run, tmp_path: Path) -> None:
    asked = ["export", str(private_run.path), "--to", "hub"]
    assert main([*asked, str(tmp_path / "hub")]) == 0
    card = (tmp_path / "hub" / "README.md").read_text()
    assert "the test images of the folder my_photos" in card
    assert not re.search("official|license|CIFAR", card)
    assert main([*asked, str(tmp_path / "given"), "--license", "cc-by-4.0"]) == 0
    assert "\nlicense: cc-by-4.0\n" in (tmp_path / "given" / "README.md").read_text()


def test_a_given_licence_is_in_the_space_and_in_its_exports(private_run: Run, tmp_path: Path) -> None:
    asked = ["export", str(private_run.path), "--to", "space", str(tmp_path / "space"), "--license", "mit"]
    assert main(asked) == 0
    assert "license: mit\n" in (tmp_path / "space" / "README.md").read_text()
    assert main(["export", str(tmp_path / "space" / "model"), "--to", "hub", str(tmp_path / "hub")]) == 0
    assert "\nlicense: mit\n" in (tmp_path / "hub" / "README.md").read_text()


def test_an_onnx_folder_states_its_check_and_its_accuracy(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for weights in ("float32", "int8"):
        folder = tmp_path / weights
        assert main(["export", str(run.path), "--to", "onnx", str(folder), "--weights", weights]) == 0
        printed = capsys.readouterr()
        assert printed.out == f"{folder}\n"
        line = printed.err.splitlines()[-1]
        assert line.startswith("compared with PyTorch on ")
        assert line in (folder / "README.md").read_text()
    assert f"of {len(tiny_split('test'))} test images correctly" in (folder / "README.md").read_text()


def test_a_missing_package_for_onnx_is_named_before_anything_is_measured(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("firstlight.cli.export.find_spec", lambda name: None if name == "onnxruntime" else name)
    assert main(["export", str(run.path), "--to", "onnx", str(tmp_path / "new")]) == 2
    assert capsys.readouterr().err == (
        f"firstlight export: --to onnx needs onnxruntime, not installed here: {install_command('onnx')}\n"
    )
    assert not (run.path / "bundle").exists()
