"""`firstlight predict`: which files it answers, what it prints, and with which exit status."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from firstlight.cli import main
from firstlight.networks import ResNet9Config, build_network
from firstlight.recipes.config import Recipe
from firstlight.runs.run import Run
from reference.tiny import tiny_split


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run folder with random weights: what is predicted does not matter here."""
    recipe = Recipe(name="t", data="tiny", network=ResNet9Config(width=4))
    folder = tmp_path / "logs" / "t" / "version_0"
    folder.mkdir(parents=True)
    recipe.save(folder / "recipe.yaml")
    made = Run(folder)
    torch.manual_seed(0)
    made.save_weights(build_network(4, recipe.network), tiny_split("train"))
    return made


def save_picture(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (40, 60, 3), dtype=np.uint8)).save(path)
    return path


def test_predict_takes_files_and_folders_and_prints_three_forms(
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


def test_a_file_that_cannot_be_read_does_not_silence_the_others(
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
        f"{tmp_path}/p/phone.heic: HEIC files are not read here: convert it to JPEG or PNG",
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


def test_the_home_folder_is_found(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    save_picture(tmp_path / "a.png")
    capsys.readouterr()
    assert main(["predict", "~/a.png", "--logs_dir=~/logs", "--cam=~/seen.png", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["image"] == str(tmp_path / "a.png")
    assert (tmp_path / "seen.png").is_file()


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
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\u732b.png" in done.stdout
    assert b"caf\\udce9.png" in done.stdout
