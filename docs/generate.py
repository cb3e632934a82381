"""Assembles the pages of the documentation site: those in docs/, and what is generated from the code.

    python docs/generate.py [DIR] [--published]      (build/docs by default)

Generated are the command line reference, from every verb's own --help, and the list of decisions, from their titles.
With --published the first page links to the browser demo and the sample report that `make site` puts beside it.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
from pathlib import Path
from unittest import mock

from firstlight.cli import VERBS, main

DOCS = Path(__file__).parent
FIRST_FENCE = "\n```\n"
# HTML, because the targets are not in the folder from which the site is built.
TRY_IT = """
**Try it:** <a href="demo/index.html">a CIFAR-10 classifier in your browser</a>, which needs no installation and sends
your pictures nowhere, and <a href="report.html">a sample report</a>.
"""
HELP_MARK = "<!-- generated: help -->"
# Whatever the terminal, the same text.
TERMINAL = {"COLUMNS": "86", "NO_COLOR": "1", "TERM": "dumb"}


def help_of(*arguments: str) -> str:
    """Return what `firstlight ... --help` prints."""
    printed = io.StringIO()
    with mock.patch.dict(os.environ, TERMINAL), contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        main([*arguments, "--help"])
    if not printed.getvalue().startswith("usage: firstlight"):
        raise RuntimeError(f"firstlight {' '.join(arguments)} --help printed no help")
    return printed.getvalue().replace(" \b", "").rstrip()  # a terminal would go back over the space


def command_line_reference() -> str:
    """Return a section for each verb: what it is for, and its help."""
    sections = [f"```text\n{help_of()}\n```"]
    for verb, purpose in VERBS.items():
        sections.append(f"## firstlight {verb}\n\n{purpose[0].upper()}{purpose[1:]}.\n\n```text\n{help_of(verb)}\n```")
    return "\n\n".join(sections)


def list_of_decisions() -> str:
    """Return a page with a link to every decision."""
    lines = ["# Decisions", "", "Choices that a reader would question, each with its reasons.", ""]
    for path in sorted((DOCS / "decisions").glob("[0-9]*.md")):
        title = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        number, _, name = title.partition(". ")
        lines.append(f"- {number}: [{name}]({path.name})")
    return "\n".join(lines) + "\n"


def assemble(target: Path, *, is_published: bool = False) -> None:
    """Put every page and every figure of the site into a folder."""
    shutil.copytree(DOCS, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    page = (DOCS / "cli.md").read_text(encoding="utf-8")
    assert HELP_MARK in page, "cli.md has lost the place where the help goes"
    (target / "cli.md").write_text(page.replace(HELP_MARK, command_line_reference()), encoding="utf-8")
    (target / "decisions" / "index.md").write_text(list_of_decisions(), encoding="utf-8")
    if is_published:
        index = (target / "index.md").read_text(encoding="utf-8")
        assert index.count(FIRST_FENCE) > 0, "index.md has lost the place where the links go"
        (target / "index.md").write_text(index.replace(FIRST_FENCE, TRY_IT + FIRST_FENCE, 1), encoding="utf-8")


if __name__ == "__main__":
    arguments = [each for each in sys.argv[1:] if each != "--published"]
    folder = Path(arguments[0]) if arguments else DOCS.parent / "build" / "docs"
    assemble(folder, is_published="--published" in sys.argv)
