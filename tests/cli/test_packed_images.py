"""Archives and tables of labels from the command line: from training to prediction."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from firstlight.cli import main
from reference.packed_photos import pack, zip_of
from reference.photo_folders import make_folder


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FIRSTLIGHT_CACHE", str(tmp_path / "cache"))
    return make_folder(Path("photos"), {"red": 12, "green": 12})


def test_a_run_on_an_archive_is_tested_on_the_folder_and_the_table(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pack(photos, Path("photos.zip"))
    network = ["--network.width", "4", "--max_epochs", "1", "--logger", "none"]
    assert main(["fit", "--recipe", "demo", "--data_dir", "photos.zip", *network]) == 0
    described = json.loads(Path("logs/demo/version_0/environment.json").read_text(encoding="utf-8"))["data"]
    assert (described["name"], described["place"]) == ("photos.zip", str(Path("photos.zip").absolute()))
    table = [f"{path.relative_to(photos).as_posix()},{path.parent.name}" for path in sorted(photos.rglob("*.png"))]
    (photos / "labels.csv").write_text("\n".join(["file,label", *table]))
    for same in ("photos", "photos/labels.csv"):
        assert main(["test", "--data_dir", same]) == 0
    assert not Path("logs/demo/version_0/tests").exists()
    capsys.readouterr()
    assert main(["predict", "photos.zip", "--format", "csv", "--top", "1"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {row["image"] for row in rows} == {f"photos.zip/{line.split(',')[0]}" for line in table}


@pytest.mark.parametrize(
    "command", ["fit --data_dir bad.zip", "show samples --data_dir bad.zip", "predict bad.zip", "audit bad.zip"]
)
def test_a_hostile_archive_is_one_line_and_no_run(
    photos: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    zip_of(Path("bad.zip"), ("../evil.png", b"x"))
    assert main(command.split()) == 2
    error = capsys.readouterr().err
    assert "bad.zip: refused: ../evil.png is outside the folder" in error
    assert len(error.splitlines()) <= 2  # the first may say which model predicts
    assert not any(path.is_file() for path in Path().rglob("*") if path.parts[0] not in ("photos", "bad.zip"))
