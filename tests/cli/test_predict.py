"""`firstlight predict`: its files, its output and its exit status."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from firstlight.cli import main
from firstlight.data.preprocess import to_pixels
from firstlight.evaluation.calibration import Calibration
from firstlight.export import bundle
from firstlight.networks import ResNet9Config, build_network
from firstlight.recipes.config import Recipe
from firstlight.runs.run import Run
from reference.tiny import tiny_split

CALIBRATION = Calibration(temperature=0.1, novelty_threshold=-2.0, num_images=9)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run folder with random weights."""
    recipe = Recipe(name="t", data="tiny", network=ResNet9Config(width=4))
    monkeypatch.setattr(bundle, "BUNDLED_PATH", tmp_path / "none")
    folder = tmp_path / "logs" / "t" / "version_0"
    folder.mkdir(parents=True)
    recipe.save(folder / "recipe.yaml")
    made = Run(folder)
    torch.manual_seed(0)
    made.save_weights(build_network(4, recipe.network), tiny_split("train"), CALIBRATION)
    made.save_json("environment.json", {"data": {"name": "tiny things", "place": "nowhere"}})
    made.save_json("results.json", {"test_acc": 0.5})
    return made


def save_picture(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (40, 60, 3), dtype=np.uint8)).save(path)
    return path


def test_predict_accepts_files_and_folders_and_prints_three_formats(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(photos / "a.jpg")
    Image.fromarray(pixels).save(photos / "b.png")
    (photos / "notes.txt").write_text("no image")
    single = tmp_path / "single.webp"
    Image.fromarray(pixels).save(single)
    capsys.readouterr()

    asked = ["predict", str(photos), str(single), "--run", str(run.path), "--top", "2"]
    assert main([*asked, "--format", "json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [Path(each["image"]).name for each in answer] == ["a.jpg", "b.png", "single.webp"]
    expected = run.predict(photos / "b.png")
    assert [each["label"] for each in answer[1]["top"]] == [name for name, _ in expected.top(2)]
    assert answer[1]["top"][0]["probability"] == pytest.approx(expected.probability, abs=1e-6)

    assert main([*asked, "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["rank"] for row in rows] == ["1", "2"] * 3

    assert main([*asked]) == 0
    assert expected.label in capsys.readouterr().out

    assert main(["predict", str(photos / "notes.txt"), "--run", str(run.path)]) == 2
    assert "notes.txt: is not an image" in capsys.readouterr().err


def test_an_unreadable_file_does_not_prevent_the_other_predictions(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = [save_picture(tmp_path / "p" / f"{number}.png", number) for number in range(3)]
    (tmp_path / "p" / "1b.jpg").write_bytes(b"")
    (tmp_path / "p" / "phone.heic").write_bytes(b"x")
    capsys.readouterr()
    assert main(["predict", str(tmp_path / "p"), "missing.png", "--run", str(run.path), "--format", "json"]) == 2
    printed = capsys.readouterr()
    answers = json.loads(printed.out)
    assert [each["image"] for each in answers] == [str(path) for path in good]
    for path, answer in zip(good, answers, strict=True):
        assert answer["top"][0]["label"] == run.predict(path).label, "an answer belongs to another file"
    assert [line.partition(": ")[2] for line in printed.err.splitlines()] == [
        f"{tmp_path}/p/phone.heic: HEIC files are not supported: convert it to JPEG or PNG",
        "missing.png: no such file or folder",
        f"{tmp_path}/p/1b.jpg: is not an image that can be read",
        "no prediction for 3 of 6 files, for the reasons above",
    ]


def test_hidden_files_are_not_predicted(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.png", ".ipynb_checkpoints/a-checkpoint.png", "__MACOSX/b.png"):
        save_picture(tmp_path / "p" / name)
    (tmp_path / "p" / "._a.png").write_bytes(b"x")
    capsys.readouterr()
    assert main(["predict", str(tmp_path / "p"), "--run", str(run.path), "--format", "json"]) == 0
    assert [Path(each["image"]).name for each in json.loads(capsys.readouterr().out)] == ["a.png"]


def test_a_tilde_is_expanded(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    save_picture(tmp_path / "a.png")
    capsys.readouterr()
    assert main(["predict", "~/a.png", "--logs_dir=~/logs", "--cam=~/seen.png", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["image"] == str(tmp_path / "a.png")
    assert (tmp_path / "seen.png").is_file()


def test_a_run_among_the_pictures_is_refused(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """It is most likely meant as the model, which needs --run; its figures are pictures, too."""
    assert main(["predict", str(run.path)]) == 2
    assert f"is a run folder, not a folder of images: name it as --run {run.path}" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_names_that_the_terminal_cannot_encode_are_escaped(form: str, run: Run, tmp_path: Path) -> None:
    save_picture(tmp_path / "p" / "猫.png")
    try:
        save_picture(tmp_path / "p" / os.fsdecode(b"caf\xe9.png"))
    except OSError:
        pytest.skip("this disk keeps no such names")
    command = [sys.executable, "-m", "firstlight", "predict", str(tmp_path / "p"), "--run", str(run.path)]
    command += ["--format", form, "--cam", str(tmp_path / "seen.png")]
    environment = os.environ | {"PYTHONIOENCODING": "latin-1", "COLUMNS": "300"}
    done = subprocess.run(command, capture_output=True, env=environment, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, f"maps: {tmp_path / 'seen.png'}\n".encode())
    assert b"\\u732b.png" in done.stdout
    assert b"caf\\udce9.png" in done.stdout


def energies(run: Run, paths: list[Path]) -> list[float]:
    pixels = torch.stack([to_pixels(path, run.size_px) for path in paths])
    with torch.no_grad():
        return (-run.network(pixels / 255).exp().sum(dim=1).log()).tolist()


def test_the_output_names_the_model_and_the_pictures_unlike_its_data(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (16, 16), "black").save(tmp_path / "black.png")
    paths = [save_picture(tmp_path / "noise.png"), tmp_path / "black.png"]
    low, high = sorted(energies(run, paths))
    novel = [energy == high for energy in energies(run, paths)]
    run.save_weights(run.network, tiny_split("train"), replace(CALIBRATION, novelty_threshold=(low + high) / 2))
    asked = ["predict", *map(str, paths), "--logs_dir", str(tmp_path / "logs"), "--top", "1"]
    facts = f"{run.path} (t on tiny things, test accuracy 50.00%)"
    monkeypatch.setenv("COLUMNS", "400")

    capsys.readouterr()
    assert main(asked) == 0
    printed = capsys.readouterr()
    assert printed.err == f"no run named: using the newest run, {facts}\n"
    assert printed.out.splitlines()[0] == facts
    rows = {path.name: next(line for line in printed.out.splitlines() if path.name in line) for path in paths}
    assert ["unlike the training data" in rows[path.name] for path in paths] == novel

    assert main([*asked, "--format", "csv"]) == 0
    found = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["unlike_training_data"] for row in found] == [str(flag).lower() for flag in novel]
    assert {(row["model"], row["recipe"], row["data"], row["test_accuracy"]) for row in found} == {
        (str(run.path), "t", "tiny things", "0.5")
    }

    assert main([*asked, "--format", "json"]) == 0
    answers = json.loads(capsys.readouterr().out)
    assert [answer["unlike_training_data"] for answer in answers] == novel
    assert answers[0]["model"] == {
        "name": str(run.path),
        "recipe": "t",
        "data": "tiny things",
        "test_accuracy": 0.5,
        "is_calibrated": True,
    }


def test_the_output_says_if_the_model_is_not_calibrated(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run.save_weights(run.network, tiny_split("train"))
    capsys.readouterr()
    assert main(["predict", str(save_picture(tmp_path / "a.png")), "--run", str(run.path)]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[0].endswith("its probabilities are not calibrated")
    assert "unlike" not in printed.out
    assert printed.err == ""
