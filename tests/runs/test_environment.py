"""The environment of a run, against git, the packages and the machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy
import pytest
import pytorch_lightning
import torch

import firstlight
from firstlight.native.libraries import kernel_report
from firstlight.runs import environment
from firstlight.runs.environment import describe_environment

NO_CONFIG = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ["git", "-C", folder, *who, *arguments], capture_output=True, text=True, check=True, env=os.environ | NO_CONFIG
    )
    return done.stdout.strip()


def test_versions_and_hardware_are_those_of_this_process() -> None:
    found = describe_environment()
    assert found["versions"]["torch"] == torch.__version__
    assert found["versions"]["numpy"] == numpy.__version__
    assert found["versions"]["pytorch-lightning"] == pytorch_lightning.__version__
    assert found["versions"]["firstlight"] == firstlight.__version__
    assert found["hardware"]["cpu_cores"] == os.cpu_count()
    assert found["hardware"]["threads"] == torch.get_num_threads()
    assert (found["hardware"]["gpu"] is None) == (not torch.cuda.is_available())
    assert found["hardware"]["cpu"]
    assert found["kernels"] == kernel_report()
    assert abs(datetime.now(UTC) - datetime.fromisoformat(found["date"])) < timedelta(minutes=10)
    assert json.loads(json.dumps(found)) == found


def test_the_compiler_is_named_unless_it_cannot_be_used_or_compiling_is_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "my-compiler"
    fake.write_text("#!/bin/sh\n")
    fake.chmod(0o755)
    monkeypatch.setenv("CXX", str(fake))
    monkeypatch.delenv("FIRSTLIGHT_COMPILE", raising=False)
    assert describe_environment()["hardware"]["compiler"] == "my-compiler"
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FIRSTLIGHT_CACHE", str(tmp_path / "file"))
    assert describe_environment()["hardware"]["compiler"] is None, "the cache cannot be written"
    monkeypatch.delenv("FIRSTLIGHT_CACHE")
    monkeypatch.setenv("FIRSTLIGHT_COMPILE", "0")
    assert describe_environment()["hardware"]["compiler"] is None


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_commit_is_that_of_the_checkout_with_a_plus_if_it_was_changed(tmp_path: Path) -> None:
    """In a separate repository: untracked code, a new commit, and a change of another file."""
    copy = tmp_path / "package" / "environment.py"
    copy.parent.mkdir()
    shutil.copy(environment.__file__, copy)
    (tmp_path / "other.txt").write_text("one")
    spec = spec_from_file_location("environment_elsewhere", copy)
    elsewhere = module_from_spec(spec)
    spec.loader.exec_module(elsewhere)

    def commit() -> str | None:
        return elsewhere.describe_environment()["commit"]

    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "other.txt")
    git(tmp_path, "commit", "--quiet", "-m", "other")
    assert commit() is None, "an installed copy inside somebody's repository is not of its commit"
    git(tmp_path, "add", "package")
    git(tmp_path, "commit", "--quiet", "-m", "package")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert commit() == head
    (tmp_path / "untracked.txt").write_text("results, say")
    assert commit() == head
    results = tmp_path / "benchmarks" / "results" / "speed.json"
    results.parent.mkdir(parents=True)
    results.write_text("{}")
    git(tmp_path, "add", "benchmarks")
    assert commit() == head, "a benchmark's own results are no change of the code"
    (tmp_path / "other.txt").write_text("two")
    assert commit() == f"{head}+"


def test_a_machine_without_git_or_packages_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise FileNotFoundError("git")

    monkeypatch.setattr(environment.subprocess, "run", missing)
    monkeypatch.setattr(environment, "PACKAGES", ("a-package-that-nobody-has",))
    found = describe_environment()
    assert found["commit"] is None
    assert found["versions"]["a-package-that-nobody-has"] is None
