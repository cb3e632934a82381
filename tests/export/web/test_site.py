"""The folder of the browser demo is complete, refers to nothing outside it, and is written by `firstlight export`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from firstlight.app.service import Service
from firstlight.cli import main
from firstlight.export.bundle import Bundle
from firstlight.export.web.site import PAGE_PATH, write_web

ADDRESS = re.compile(r"https?://[\w.-]+")
NAMESPACES = {"http://www.w3.org", "http://localhost"}  # of SVG, and in a sentence for readers


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_the_folder_has_the_page_the_model_the_runtime_and_the_images(site: Path) -> None:
    names = {path.name for path in site.iterdir()}
    assert {path.name for path in PAGE_PATH.iterdir()} <= names
    assert {"model.onnx", "model.json", "files.json", "mistakes.json", "README.md", "model-card.md"} <= names
    assert {"examples-1.png", "mistakes-1.png", "network.svg", "runtime", ".nojekyll", ".gitattributes"} <= names


def test_the_list_of_files_is_complete_with_their_sizes(site: Path) -> None:
    listed = json.loads(read(site / "files.json"))
    sizes = {
        path.relative_to(site).as_posix(): path.stat().st_size
        for path in sorted(site.rglob("*"))
        if path.is_file() and not path.name.startswith(".") and path.name not in ("sw.js", "files.json")
    }
    assert listed["files"] == sizes
    unneeded = {"README.md", "runtime/LICENSE", "runtime/ThirdPartyNotices.txt", "runtime/digests.json"}
    stored = json.loads(read(site / "sw.js").removeprefix("self.CONTENT = ").split(";\n")[0])
    assert stored == {
        "version": listed["version"],
        "files": [name for name in [*sizes, "files.json"] if name not in unneeded],
    }


def test_another_model_gets_another_version(site: Path, bundle: Bundle, tmp_path: Path) -> None:
    write_web(bundle, tmp_path / "same")
    write_web(bundle, tmp_path / "other", licence="cc0-1.0")
    version, same, other = (
        json.loads(read(each / "files.json"))["version"] for each in (site, tmp_path / "same", tmp_path / "other")
    )
    assert version == same
    assert version != other


def test_the_page_refers_to_nothing_outside_its_folder() -> None:
    for path in PAGE_PATH.iterdir():
        assert set(ADDRESS.findall(read(path))) <= NAMESPACES, path
        for name in re.findall(r"""(?:from|import\(?) ["'](\./[^"']+)""", read(path)):
            assert (PAGE_PATH / name).is_file() or name.startswith("./runtime/"), f"{path}: {name}"
    policy = re.search(r'content="(default-src[^"]+)"', read(PAGE_PATH / "index.html"))
    assert policy
    assert "default-src 'none'" in policy[1]
    assert "unsafe-inline" not in policy[1]
    assert "'unsafe-eval'" not in policy[1]


def test_no_source_turns_text_into_markup() -> None:
    forbidden = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser")
    for path in PAGE_PATH.glob("*.js"):
        assert not forbidden.search(read(path)), path


def test_model_json_says_what_the_app_says(site: Path, bundle: Bundle) -> None:
    found, service = json.loads(read(site / "model.json")), Service(bundle)
    assert tuple(found["class_names"]) == service.class_names
    assert [each["name"] for each in found["stages"]] == list(service.stages)
    assert found["stages"][found["default_stage"]]["name"] == service.stages[-2]
    assert [each["name"] for each in found["methods"]] == list(service.methods)
    assert found["methods"][0] == {"name": "grad_cam", "label": "Grad-CAM"}
    assert found["confusion"] == bundle.measured["confusion"]
    assert found["tiles"][0][0] == f"{bundle.measured['test']['single_view']:.2%}"
    assert len(found["colours"]) == 256


def test_the_front_matter_is_that_of_a_static_space(site: Path) -> None:
    matter = yaml.safe_load(read(site / "README.md").split("---\n")[1])
    assert matter["sdk"] == "static"
    assert (site / matter["app_file"]).is_file()
    assert "license" not in matter, "nobody has given a licence"
    assert len(matter["short_description"]) <= 60


def test_a_licence_stands_in_the_front_matter_and_in_the_card(bundle: Bundle, tmp_path: Path) -> None:
    assert main(["export", str(bundle.path), "--to", "web", str(tmp_path / "demo"), "--license", "mit"]) == 0
    assert yaml.safe_load(read(tmp_path / "demo" / "README.md").split("---\n")[1])["license"] == "mit"
    assert "license: mit" in read(tmp_path / "demo" / "model-card.md")


def test_without_images_no_image_is_packed(bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "demo"
    assert main(["export", str(bundle.path), "--to", "web", str(folder), "--without_images"]) == 0
    assert "warning" not in capsys.readouterr().err
    assert not [path for path in folder.iterdir() if path.suffix == ".png"]
    found = json.loads(read(folder / "model.json"))
    assert found["examples"] is None
    assert found["has_mistakes"] is False
    assert "mistakes" not in read(folder / "README.md")


def test_private_images_are_announced(bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(bundle.path), "--to", "web", str(tmp_path / "demo")]) == 0
    said = capsys.readouterr().err
    assert "will contain" in said
    assert "--without_images leaves them out" in said
