"""A Space folder is complete: app, model, package and pinned requirements."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

import firstlight
from firstlight.export import space as space_module
from firstlight.export.bundle import Bundle
from firstlight.export.space import requirements, version_of, write_space

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def space(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("space") / "demo"
    write_space(bundle, folder)
    return folder


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))


def test_the_folder_holds_app_pins_card_package_and_model(space: Path, bundle: Bundle) -> None:
    assert sorted(path.name for path in space.iterdir()) == [
        ".gitattributes",
        "README.md",
        "app.py",
        "firstlight",
        "model",
        "requirements.txt",
    ]
    assert {path.name for path in (space / "model").iterdir()} == {path.name for path in bundle.path.iterdir()}
    for path in bundle.path.iterdir():
        assert (space / "model" / path.name).read_bytes() == path.read_bytes()


def test_the_package_is_complete_without_compiled_files_bundled_model_and_browser_demo(space: Path) -> None:
    source = Path(firstlight.__file__).parent
    expected = {
        path.relative_to(source) for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    }
    copied = {path.relative_to(space / "firstlight") for path in (space / "firstlight").rglob("*") if path.is_file()}
    assert copied == {path for path in expected if path.parts[0] != "bundled" and path.parts[:2] != ("export", "web")}


def test_every_requirement_is_pinned_to_the_version_that_the_tests_run_with(space: Path) -> None:
    lines = (space / "requirements.txt").read_text().splitlines()
    assert lines[0].startswith("--extra-index-url https://")
    known = constraints()
    for line in lines[1:]:
        name, version = re.fullmatch(r"([a-z]+)==([\d.]+)", line).groups()  # type: ignore[union-attr]
        assert known[name] == version, line
    assert len(lines) > 5


def test_the_front_matter_has_the_fields_of_a_space(space: Path) -> None:
    text = (space / "README.md").read_text()
    assert text.startswith("---\n")
    matter = yaml.safe_load(text.split("---\n")[1])
    assert set(matter) >= {"title", "emoji", "colorFrom", "colorTo", "sdk", "sdk_version", "app_file"}
    assert "license" not in matter, "nobody has given a licence"
    colours = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
    assert {matter["colorFrom"], matter["colorTo"]} <= colours
    assert matter["sdk"] == "gradio"
    assert f"gradio=={matter['sdk_version']}" in (space / "requirements.txt").read_text().splitlines()
    assert (space / matter["app_file"]).is_file()
    assert re.fullmatch(r"3\.1\d", matter["python_version"])
    assert len(matter["short_description"]) <= 60
    assert len(matter["emoji"]) == 1


def test_binary_files_are_marked_for_large_file_storage(space: Path) -> None:
    marked = re.findall(
        r"^\*(\.\w+) filter=lfs diff=lfs merge=lfs -text$", (space / ".gitattributes").read_text(), re.M
    )
    binary = {path.suffix for path in (space / "model").iterdir() if b"\0" in path.read_bytes()}
    assert binary == set(marked)


def test_a_local_version_suffix_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space_module.metadata, "version", lambda name: "2.13.0+cpu")
    assert version_of("torch") == "2.13.0"


def test_without_gradio_the_error_of_the_export_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space_module, "REQUIREMENTS", ("no-such-package-here",))
    with pytest.raises(firstlight.FirstlightError, match=r"pip install 'firstlight\[app\]'"):
        requirements()
