"""Verbs without RUN use the newest run and name it; printed commands work in the user's shell."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from firstlight.cli import main
from firstlight.cli.output import print_demo, shell_command
from firstlight.export import bundle as bundle_module
from firstlight.export.bundle import Bundle
from firstlight.runs.run import Run
from reference.made_bundle import make_fitted_run
from reference.photo_folders import save_photo


@pytest.fixture
def runs(tmp_path: Path, tiny: str, monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """Three runs in logs/; the second is the newest."""
    monkeypatch.chdir(tmp_path)
    found = []
    for name, age_s in (("demo/version_0", 200), ("exercise/version_0", 0), ("demo/version_1", 100)):
        folder = Path("logs") / name
        folder.mkdir(parents=True)
        found.append(make_fitted_run(folder))
        written_s = found[-1].weights_path.stat().st_mtime - age_s
        os.utime(found[-1].weights_path, (written_s, written_s))
    return found


@pytest.mark.parametrize(
    "arguments",
    ["test", "explain --count 2", "export --to hub shared"],
)
def test_a_verb_without_a_run_uses_the_newest_and_names_it(
    arguments: str, runs: list[Run], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments.split()) == 0
    accuracy = f"{runs[1].results['test_acc']:.2%}"
    expected = f"no run named: using the newest run, logs/exercise/version_0 (made on tiny, test accuracy {accuracy})"
    assert capsys.readouterr().err.splitlines().count(expected) == 1
    assert main([*arguments.split()[:1], str(runs[0].path), *arguments.split()[1:], *_overwrite(arguments)]) == 0
    assert "no run named" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", ["test", "explain --count 2", "report --json", "export --to hub shared", "predict photo.png"]
)
def test_every_verb_looks_for_the_newest_run_in_the_named_folder(
    arguments: str,
    runs: list[Run],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save_photo(tmp_path / "photo.png", (200, 40, 40))
    (tmp_path / "logs").rename(tmp_path / "of_may")
    assert main([*arguments.split(), "--logs_dir", "of_may"]) == 0
    assert "using the newest run, of_may/exercise/version_0" in capsys.readouterr().err


def _overwrite(arguments: str) -> list[str]:
    return ["--overwrite"] if arguments.startswith("export") else []


@pytest.mark.parametrize("verb", ["test", "explain", "export --to hub shared"])
def test_without_any_run_the_error_says_how_to_make_one(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(verb.split()) == 2
    assert "no run in logs: make one with `firstlight demo`" in capsys.readouterr().err


def test_the_app_uses_the_newest_run_or_else_the_bundled_model(
    runs: list[Run], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    served: list[Bundle] = []
    monkeypatch.setattr("firstlight.app.serving.serve", lambda bundle, *_, **__: served.append(bundle))
    assert main(["app"]) == 0
    assert served[-1].path == runs[1].path / "bundle"
    assert "using the newest run, logs/exercise/version_0" in capsys.readouterr().err
    (tmp_path / "logs").rename(tmp_path / "of_may")
    assert main(["app", "--logs_dir", "of_may"]) == 0
    assert "using the newest run, of_may/exercise/version_0" in capsys.readouterr().err
    (tmp_path / "of_may").rename(tmp_path / "logs")
    monkeypatch.chdir(tmp_path.parent)
    monkeypatch.setattr(bundle_module, "BUNDLED_PATH", tmp_path / runs[1].path / "bundle")
    assert main(["app"]) == 0
    assert "using the bundled model, as there is no run in logs/" in capsys.readouterr().err
    assert main(["app", "bundled"]) == 0
    assert capsys.readouterr().err == ""
    assert [each.path for each in served[2:]] == [tmp_path / runs[1].path / "bundle"] * 2


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of commands of a virtual environment below the current folder."""
    folder = tmp_path / ".venv" / "bin"
    folder.mkdir(parents=True)
    for name in ("python", "firstlight", "tensorboard", "activate"):
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    return folder


def test_a_command_is_named_by_its_path_unless_the_shell_finds_it(
    environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin")
    assert shell_command("firstlight") == ".venv/bin/firstlight"
    other = tmp_path / "other"
    other.mkdir()
    (other / "firstlight").write_text("#!/bin/sh\n")
    (other / "firstlight").chmod(0o755)
    monkeypatch.setenv("PATH", str(other))
    assert shell_command("firstlight") == ".venv/bin/firstlight", "the shell would find another installation"
    monkeypatch.setenv("PATH", str(environment))
    assert shell_command("firstlight") == "firstlight"
    assert shell_command("jupyter") == "jupyter", "it is not installed: there is no path to print"


@pytest.mark.parametrize("active", [False, True])
def test_the_demo_ends_with_commands_that_work_in_this_shell(
    active: bool,
    environment: Path,
    tiny: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PATH", f"{environment}:/usr/bin" if active else "/usr/bin")
    folder = Path("logs/demo/version_0")
    folder.mkdir(parents=True)
    run = make_fitted_run(folder)
    run.save_json("results.json", run.results | {"train_s": 1.0, "total_s": 2.0, "test_loss": 1.0})
    print_demo(run)
    printed = capsys.readouterr().out
    assert ("source .venv/bin/activate" in printed) is not active
    assert (".venv/bin/tensorboard --logdir logs" in printed) is not active
    verbs = [line.split()[1] for line in printed.splitlines() if line.startswith("  firstlight ")]
    assert verbs == ["report", "app", "predict", "explain", "fit"], "the slow ones come last"
    assert "  firstlight report logs/demo/version_0 " in printed
