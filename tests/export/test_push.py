"""`firstlight export --push`: the folder arrives in the repository, and without a login nothing is begun."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from firstlight.errors import UsageError
from firstlight.export.bundle import Bundle
from firstlight.export.push import REPOSITORIES, check_push
from reference.hub_server import TOKEN, Hub, hub_server

pytest.importorskip("huggingface_hub")


@pytest.fixture
def hub() -> Iterator[Hub]:
    with hub_server() as server:
        yield server


def export(hub: Hub, tmp_path: Path, *arguments: str, token: str = TOKEN) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, because the hub's package reads its settings when it is imported."""
    environment = os.environ | {"HF_ENDPOINT": hub.address, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(tmp_path / "hf")}
    environment |= {"HF_TOKEN": token, "HF_HUB_DISABLE_PROGRESS_BARS": "1", "NO_PROXY": "127.0.0.1"}
    command = [sys.executable, "-m", "firstlight", "export", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)


def contents(folder: Path) -> dict[str, bytes]:
    return {each.relative_to(folder).as_posix(): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


@pytest.mark.parametrize("kind", ["hub", pytest.param("web", marks=pytest.mark.slow)])
def test_the_folder_arrives_in_the_repository(hub: Hub, bundle: Bundle, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "made"
    done = export(hub, tmp_path, str(bundle.path), "--to", kind, str(folder), "--push", "someone/demo")
    assert done.returncode == 0, done.stderr
    asked, repository = hub.created["someone/demo"], REPOSITORIES[kind]
    assert asked.get("type", "model") == repository.kind
    assert asked.get("sdk") == repository.sdk
    assert hub.files["someone/demo"] == contents(folder)
    assert done.stdout.splitlines()[0] == str(folder)
    assert done.stdout.splitlines()[1].endswith("/someone/demo")


def test_a_refusal_of_the_hub_is_one_line_and_the_folder_stays(hub: Hub, bundle: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "made"
    done = export(
        hub, tmp_path, str(bundle.path), "--to", "hub", str(folder), "--push", "someone/demo", token="hf_wrong"
    )
    assert done.returncode == 2
    (line,) = [each for each in done.stderr.splitlines() if each.startswith("firstlight export:")]
    assert "is written, but could not be pushed to someone/demo" in line
    assert "401" in line
    assert "Traceback" not in done.stderr
    assert (folder / "model.safetensors").is_file()


def test_without_a_login_nothing_is_measured_or_written(hub: Hub, bundle: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "made"
    done = export(hub, tmp_path, str(bundle.path), "--to", "hub", str(folder), "--push", "someone/demo", token="")
    assert done.returncode == 2
    assert "hf auth login" in done.stderr
    assert not folder.exists()
    assert hub.requested == []


@pytest.mark.parametrize(
    ("kind", "name", "says"),
    [
        ("web", "demo", "USER/NAME"),
        ("web", "https://x.y/a/b", "USER/NAME"),
        ("bundle", "a/b", "does nothing for bundle"),
    ],
)
def test_a_wrong_name_or_kind_is_one_line(kind: str, name: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        check_push(kind, name)
