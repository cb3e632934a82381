"""`firstlight audit`: of a run, of a data set and of a folder, and errors in one line."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from firstlight.cli import audit as verb
from firstlight.cli import main
from firstlight.cli.audit_summary import print_audit
from firstlight.data.source import open_source
from firstlight.reports.audit import audit
from firstlight.reports.audit_page import MAX_IMAGES
from firstlight.runs.run import Run
from firstlight.training import audit_predictions
from reference.made_run import make_run
from reference.photo_folders import make_folder
from reference.tiny import tiny_split


@pytest.fixture
def run(tmp_path: Path, tiny: str) -> Run:
    folder = tmp_path / "run"
    folder.mkdir()
    return make_run(folder)


def test_a_run_is_audited_without_training(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", str(run.path)]) == 0
    out = capsys.readouterr().out
    assert "Only the labels of the test images were checked" in out
    assert out.endswith(f"{run.path / 'audit.csv'}\n{run.path / 'audit.html'}\n")
    assert (run.path / "audit.html").read_text().startswith("<!doctype html>")
    assert main(["audit", str(run.path), "--json", "--out", str(run.path / "no")]) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert numbers["num_images"] == {"train": 192, "test": 83}
    assert list(numbers["labels"]) == ["test"]
    assert not (run.path / "no").exists()


@pytest.mark.slow
def test_a_data_set_is_cross_validated(tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--folds", "2", "--epochs", "1", "--logs_dir", str(tmp_path / "logs"), "--data_dir", str(tmp_path)]
    assert main(["audit", "tiny", *options]) == 0
    out = capsys.readouterr().out
    assert "Labels of train:" in out
    assert "Labels of test:" in out
    assert (tmp_path / "logs" / "audit" / "tiny" / "audit.html").is_file()
    assert len(list((tmp_path / "logs" / "audit" / "tiny" / "demo").glob("version_*"))) == 2
    assert main(["audit", "tiny", *options, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["labels"]["train"]["num_images"] == 192
    runs = list((tmp_path / "logs" / "audit" / "tiny" / "demo").glob("version_*"))
    assert len(runs) == 2, "finished runs are used again"


def test_a_folder_with_copies_is_audited(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_folder(tmp_path / "photos", {"red": 12, "green": 12})
    copy = (folder / "red" / "003.png").read_bytes()
    (folder / "green" / "copy.png").write_bytes(copy)
    (folder / "green" / "broken.png").write_bytes(b"no image")
    before = {path: path.read_bytes() for path in folder.rglob("*.png")}
    assert main(["audit", str(folder), "--without_training", "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr()
    assert "Contradictions: 1 group of copies with different labels." in printed.out
    assert "Labels were not checked" in printed.out
    assert "broken.png" in printed.err
    rows = list(csv.DictReader((tmp_path / "out" / "audit.csv").read_text().splitlines()))
    assert {rows[0]["file"]} <= {"green/copy.png", "red/003.png"}
    assert {path: path.read_bytes() for path in folder.rglob("*.png")} == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere"], "nowhere: no such folder, and no data set of that name"),
        (["drawn", "--max_images", "0"], "--max_images must be 1 or more"),
        (["tiny", "--recipe", "magic"], "no recipe is called 'magic'"),
        (["tiny", "--folds", "1"], "--folds must be 2 or more"),
        (["ONE_CLASS"], "Add a folder of images for each class"),
    ],
)
def test_impossible_arguments_are_refused_in_one_line(
    tiny: str, tmp_path: Path, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make_folder(tmp_path / "one" / "train", {"red": 5})
    arguments = [str(tmp_path / "one") if each == "ONE_CLASS" else each for each in arguments]
    assert main(["audit", *arguments, "--logs_dir", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert says in error.splitlines()[-1]


def test_a_sign_concerns_a_whole_split(capsys: pytest.CaptureFixture[str]) -> None:
    found = audit("tiny", {"train": tiny_split("train")}, {})  # its colours alone tell the classes
    print_audit(found)
    row = next(line for line in capsys.readouterr().out.splitlines() if line.split()[:1] == ["sign"])
    assert row.split()[:3] == ["sign", "train", f"{found.signs[0].auroc:.2f}"]


def test_the_defaults_are_those_of_the_modules() -> None:
    assert verb.DEFAULT_MAX_IMAGES == MAX_IMAGES
    options = verb.build_parser().parse(["drawn"])
    assert (options.folds, options.recipe) == (audit_predictions.DEFAULT_FOLDS, audit_predictions.DEFAULT_RECIPE)


def test_decided_images_are_not_asked_about_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_folder(tmp_path / "photos", {"red": 12, "green": 12, "blue": 12})
    for name in ("red/003.png", "red/004.png", "red/005.png"):
        copy = folder / "green" / f"copy_of_{Path(name).name}"
        copy.write_bytes((folder / name).read_bytes())
    asked = ["audit", str(folder), "--without_training", "--json"]

    def audit_copies(*decisions: tuple[str, int, str, str]) -> tuple[dict[str, int], list[dict[str, object]]]:
        lines = ["split,id,file,decision", *(",".join(map(str, each)) for each in decisions)]
        (tmp_path / "d.csv").write_text("\n".join(lines))
        assert main([*asked, "--decisions", str(tmp_path / "d.csv")]) == 0
        numbers = json.loads(capsys.readouterr().out)
        return numbers["num_images"], [each for each in numbers["findings"] if each["kind"] == "duplicate"]

    counts, copies = audit_copies()
    assert len(copies) == 3
    decisions = [
        (str(each["split"]), int(str(each["id"])), str(each["file"]), decision)
        for each, decision in zip(copies, ("keep", "drop", "relabel:red"), strict=True)
    ]
    for num_decided in (1, 2, 3):
        _, left = audit_copies(*decisions[:num_decided])
        assert [each["file"] for each in left] == [each["file"] for each in copies[num_decided:]]
    changed, _ = audit_copies(*decisions)
    assert sum(changed.values()) == sum(counts.values()) - 1, "one image is dropped"


def test_the_page_knows_the_files_of_decided_images(tmp_path: Path) -> None:
    """A decision by hand may name only the id or only the file; the page identifies images by their files."""
    folder = make_folder(tmp_path / "photos", {"red": 12, "green": 12})
    train = open_source("cifar10", folder).train()
    assert train.file_names is not None
    first, second, third = train.file_names[:3]
    lines = [
        "split,id,file,decision",
        f"train,{int(train.ids[0])},,keep",
        f"train,,{second},keep",
        f"train,,{third},drop",
    ]
    (tmp_path / "d.csv").write_text("\n".join(lines))
    options = ["--without_training", "--decisions", str(tmp_path / "d.csv"), "--out", str(tmp_path / "out")]
    assert main(["audit", str(folder), *options]) == 0
    page = (tmp_path / "out" / "audit.html").read_text()
    data = json.loads(page.partition('id="data">')[2].partition("</script>")[0])
    assert [each["file"] for each in data["decisions"]] == [first, second, third]
    assert "row.file || row.id" in page


def test_the_page_keeps_earlier_decisions(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "d.csv").write_text("split,id,decision\ntest,7,keep\n")
    assert main(["audit", str(run.path), "--decisions", str(tmp_path / "d.csv")]) == 0
    assert "Findings about decided images are left out (" in capsys.readouterr().out
    page = (run.path / "audit.html").read_text()
    data = json.loads(page.partition('id="data">')[2].partition("</script>")[0])
    assert data["decisions"] == [{"split": "test", "id": 7, "file": "", "decision": "keep"}]
