"""`firstlight export`: what it writes where, and what it refuses."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from firstlight.cli import main
from firstlight.data.source import SOURCES
from firstlight.export import bundle as bundle_module
from firstlight.export.bundle import Bundle
from firstlight.export.pretrained import Pretrained
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
    monkeypatch.delitem(SOURCES, "tiny")  # nothing is measured again: the data set is not needed any more
    assert main(["export", str(run.path), "--to", "bundle", str(tmp_path / "copy")]) == 0
    assert capsys.readouterr().err == ""
    assert Bundle(tmp_path / "copy").measured == Bundle(run.path / "bundle").measured


def test_new_weights_are_measured_anew(run: Run, tmp_path: Path) -> None:
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
    for _ in range(2):  # it is made anew without asking
        assert main(["export", str(run.path), "--to", "bundle"]) == 0
        assert capsys.readouterr().out == f"{path}\n"
    assert main(["export", "bundled", "--to", "hub", str(tmp_path / "hub")]) == 0
    assert Pretrained(tmp_path / "hub").class_names == run.class_names


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("RUN --to hub", "--to hub needs one folder: firstlight export RUN --to hub DIR"),
        ("RUN --to space a b", "--to space needs one folder"),
        ("RUN --to cloud DIR", "--to cloud: choose one of hub, space, bundle"),
        ("RUN", "required: to"),
        ("RUN --to hub RUN", "is not empty: name a new folder, or replace what is in it with --overwrite"),
        ("nowhere --to hub DIR", "nowhere is neither a run nor a bundle"),
        ("bundled --to hub DIR", "brings no trained model"),
        ("RUN --to hub DIR --data_dir nowhere --calibrate_on nowhere", "nowhere"),
        ("RUN --to hub DIR --nonsense", "--nonsense"),
    ],
)
def test_what_cannot_be_exported_is_one_line_and_status_2(
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


def test_a_run_whose_data_set_is_gone_says_so(
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
    assert capsys.readouterr().out == expected
    shutil.copytree(run.path, tmp_path / "logs" / "made" / "version_0", ignore=shutil.ignore_patterns("bundle"))
    assert main(asked) == 0
    assert capsys.readouterr().out != expected, "a run in logs goes first; its weights are not rounded"
    monkeypatch.setattr(bundle_module, "BUNDLED_PATH", tmp_path / "none")
    assert main([*asked, "--logs_dir", str(tmp_path / "no logs")]) == 2
    line = capsys.readouterr().err
    assert "firstlight demo" in line
    assert "brings no trained model" in line
    assert line.count("\n") == 1
