"""The workflow that publishes the demos: its commands exist, and it asks for no more rights than it needs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from firstlight.cli.export import build_parser
from firstlight.export.push import REPOSITORIES

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / ".github" / "workflows" / "pages.yml"


def jobs() -> dict[str, Any]:
    return dict(yaml.safe_load(WORKFLOW.read_text())["jobs"])


def commands() -> list[str]:
    return [step["run"] for job in jobs().values() for step in job["steps"] if "run" in step]


def test_every_command_is_a_target_or_an_export_that_exists() -> None:
    targets = re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text())
    assert commands()
    for command in commands():
        words = command.split()
        if words[0] == "make":
            assert words[1] in targets
        else:
            assert words[:2] == [".venv/bin/firstlight", "export"]
            options = build_parser().parse(words[2:])
            assert options.to[0] in REPOSITORIES
            assert options.push


def test_only_the_job_of_the_pages_may_write_and_no_job_may_change_the_repository() -> None:
    assert jobs()["pages"]["permissions"] == {"contents": "read", "pages": "write", "id-token": "write"}
    assert jobs()["spaces"]["permissions"] == {"contents": "read"}


def test_without_a_secret_or_a_name_nothing_is_pushed() -> None:
    pushing = [step for step in jobs()["spaces"]["steps"] if "--push" in step.get("run", "")]
    assert len(pushing) == 2
    assert all("env.HF_TOKEN != ''" in step["if"] and "_SPACE != ''" in step["if"] for step in pushing)
    assert "vars.WEB_SPACE != ''" in jobs()["spaces"]["if"]
