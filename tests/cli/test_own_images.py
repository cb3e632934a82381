"""Training on your own images as in docs/start.md, and the errors."""

from __future__ import annotations

import csv
import json
import re
import shlex
from pathlib import Path

import pytest
import yaml
from PIL import Image

from firstlight.cli import main
from firstlight.data.drawn import draw
from firstlight.runs.run import load
from reference.photo_folders import COLOURS, make_folder, save_photo

DOCS = Path(__file__).parents[2] / "docs"
SECTION = re.compile(r"## Your own images\n(.*?)\n## ", re.DOTALL)
QUICK = [
    *("--network.width", "4", "--max_epochs", "2", "--batch_size", "8"),
    *("--logger", "none", "--trainer.accelerator", "cpu"),
]
UNSORTED = "not in a folder for each of two classes or more"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: str) -> None:
    monkeypatch.chdir(tmp_path)


def commands_of_the_page() -> list[list[str]]:
    """Return the commands of docs/start.md."""
    found = SECTION.search((DOCS / "start.md").read_text())
    assert found
    lines = [line for line in found[1].splitlines() if line.startswith("firstlight ")]
    return [shlex.split(line)[1:] for line in lines]


def test_every_command_of_the_worked_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    Path("logs/demo/version_0").mkdir(parents=True)  # the run of `firstlight demo`
    drawn = draw(250, seed=4, split="train")
    for number, (pixels, label) in enumerate(zip(drawn.images, drawn.labels.tolist(), strict=True)):
        if label < 3:
            path = Path("my_photos") / ("bird", "cat", "dog")[label] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(path)
    Path("my_photos/cat/broken.jpg").write_bytes(b"no image")
    save_photo(Path("new_photo.jpg"), COLOURS["red"], size=(400, 300))
    commands = commands_of_the_page()
    assert [each[0] for each in commands] == ["show", "fit", "explain", "predict"]
    for each in commands:
        assert main(each) == 0, each
    printed = capsys.readouterr()
    assert "my_photos: a folder for each of 3 classes (bird, cat, dog)" in printed.err
    assert "num_val 1000 is more than a third of" in printed.err
    assert "cat/broken.jpg: is not an image that can be read" in printed.err
    run = load("logs/demo/version_1")
    assert run.class_names == ("bird", "cat", "dog")
    assert len(run.predictions.ids) == 14, "how many of so few are right is chance"
    recipe = yaml.safe_load((run.path / "recipe.yaml").read_text())
    assert (recipe["name"], recipe["data"], recipe["image_size"]) == ("demo", "folder", 32)
    assert run.environment["data"]["name"] == "my_photos"
    for drawing in ("samples.png", "logs/demo/version_1/misclassified.png"):
        assert Path(drawing).read_bytes().startswith(b"\x89PNG")
    assert "new_photo.jpg" in printed.out


def test_later_verbs_find_the_images_or_name_the_searched_path(capsys: pytest.CaptureFixture[str]) -> None:
    odd = "$x_[b]^\\frac:cat:"
    make_folder(Path("photos"), {"red": 20, odd: 20, "猫": 20})
    assert main(["fit", "--data_dir", "photos", *QUICK]) == 0
    run = load("logs/adam24/version_0")
    capsys.readouterr()
    assert main(["test", str(run.path)]) == 0
    assert f"test_acc {run.results['test_acc']:.4f}" in capsys.readouterr().out
    assert main(["explain", str(run.path), "--count", "2", "--out", "seen.png"]) == 0
    assert main(["explain", str(run.path), "--list"]) == 0
    seen, *listed = capsys.readouterr().out.splitlines()
    assert seen == "seen.png"
    assert len(listed) == 1 + len(run.predictions.misclassified())
    for row in csv.DictReader(listed):
        assert Path("photos", row["file"]).parent.name == row["true"] != row["predicted"]
    assert main(["predict", "photos/猫", "--format", "json"]) == 0
    answers = json.loads(capsys.readouterr().out)
    assert {each["label"] for each in answers[0]["top"]} == {"red", odd, "猫"}
    assert main(["predict", "photos/red/001.png", "--cam", "cam.png", "--top", "3"]) == 0
    printed = capsys.readouterr().out
    assert "[b]" in printed
    assert ":cat:" in printed
    Path("photos").rename("moved")
    assert main(["test", str(run.path)]) == 2
    assert "photos: no such folder" in capsys.readouterr().err
    assert main(["test", str(run.path), "--data_dir", "moved"]) == 0
    make_folder(Path("moved"), {"blue": 10})
    assert main(["test", str(run.path), "--data_dir", "moved"]) == 2
    assert "has the class 'blue', which the network does not know" in capsys.readouterr().err


@pytest.mark.parametrize("recipe", ["adam24", "demo"])
def test_printed_commands_can_be_run_again(recipe: str, capsys: pytest.CaptureFixture[str]) -> None:
    make_folder(Path("photos"), {"red": 10, "green": 10})
    with pytest.raises(SystemExit):
        main(["fit", "--recipe", recipe, "--data_dir", "photos", *QUICK, "--print_config"])
    Path("config.yaml").write_text(capsys.readouterr().out, encoding="utf-8")
    assert main(["fit", "--config", "config.yaml", "--fast_dev_run"]) == 0
    assert "photos: a folder for each of 2 classes" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["samples", "classes", "channels", "augmentation"])
def test_the_images_are_drawn(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    make_folder(Path("photos"), {"red": 10, "green": 10})
    assert main(["show", kind, "--data_dir", "photos", "--image_size", "24", "--split", "test"]) == 0
    assert capsys.readouterr().out == f"{kind}.png\n"


@pytest.mark.parametrize(
    ("counts", "arguments", "says"),
    [
        ({}, "fit --data_dir nowhere --recipe demo", "nowhere: no such folder"),
        ({}, "fit --data folder --data_dir nowhere", "nowhere: no such folder"),
        ({}, "show samples --data_dir nowhere", "nowhere: no such folder"),
        ({"photos/red": 2}, "fit --data_dir photos/red/000.png", "photos/red/000.png is a file"),
        ({"photos/red": 9}, "fit --data_dir photos", UNSORTED),
        ({"photos/red": 4}, "fit --data_dir photos/red --recipe demo", UNSORTED),
        ({"photos/red": 9, "photos/green": 1}, "fit --data_dir photos", "only one image of 'green'"),
        ({"photos/red": 9, "photos/green": 9}, "fit --data_dir photos --image_size 8", "image_size must be 16 to 512"),
        ({"photos/red": 9, "photos/green": 9}, "show samples --data_dir photos --image_size 8", "16 to 512"),
        ({"photos/test/red": 9, "photos/test/green": 9}, "fit --data folder --data_dir photos", "but no train folder"),
        ({"photos/red": 9, "photos/green": 9}, "fit --data tiny --image_size 48", "image_size 48 is for folders"),
    ],
)
def test_errors_of_the_user_are_one_line_and_status_2(
    counts: dict[str, int], arguments: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make_folder(Path(), counts)
    before = sorted(Path().rglob("*"))
    assert main(arguments.split()) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert says in printed.err
    assert printed.out == ""
    assert sorted(Path().rglob("*")) == before
