"""The documentation: it builds without warnings, its links lead somewhere, its code runs, its commands exist."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
import torch
import yaml

import firstlight
from firstlight.attribution import METHODS, explain
from firstlight.cli import VERBS, main
from firstlight.data.source import SOURCES
from firstlight.errors import UsageError
from firstlight.networks import ResNet9, ResNet9Config
from firstlight.recipes import RECIPES

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
FENCE = re.compile(r"^```(?P<language>[a-z]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE_COMMAND = re.compile(r"`(firstlight [^`]+)`")
COMMAND = re.compile(r"firstlight (?P<verb>[a-z]+)(?P<rest>[^#]*)")  # comments after "#"
TARGET = re.compile(r"(?m)^make (?P<target>[a-z-]+)")
URL = re.compile(r"https?:[^\s)>`\"']*")
IMAGE = re.compile(r"(?:!\[[^\]]*\]\(|<img src=\")([^)\"]+)")
SOURCE_FILE = re.compile(r"`([a-z_0-9/]+\.(?:py|cpp|hpp))`")
NOT_OURS = {"app.py"}  # the entry point of an exported Space
ANSI = re.compile(r"\x1b\[[0-9;]*m")


def load_script(path: Path) -> ModuleType:
    """Import a file that is in no package."""
    spec = importlib.util.spec_from_file_location(f"docs_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def build(project: Path) -> tuple[int, str]:
    """Build the site of a folder with a mkdocs.yml; return the exit status and what was printed."""
    command = [Path(sys.executable).with_name("zensical"), "build", "--clean", "--strict"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=project)
    return done.returncode, ANSI.sub("", done.stdout + done.stderr)


def code_blocks(page: Path, language: str) -> list[str]:
    """The code in a page's fences of one language."""
    return [
        found["code"] for found in FENCE.finditer(page.read_text(encoding="utf-8")) if found["language"] == language
    ]


def commands(page: Path) -> list[re.Match[str]]:
    """The firstlight commands on a page, in its fences and in its text."""
    lines = [line for code in code_blocks(page, "") for line in code.splitlines()]
    lines += INLINE_COMMAND.findall(FENCE.sub("", page.read_text(encoding="utf-8")))
    return [found for line in lines if (found := COMMAND.match(line))]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sources of the site and its generated pages; the checkout is unchanged."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copy(ROOT / "mkdocs.yml", folder)
    (folder / "src").symlink_to(ROOT / "src")
    (folder / "docs").mkdir()
    shutil.copy(DOCS / "doctests.py", folder / "docs")
    load_script(DOCS / "generate.py").assemble(folder / "build" / "docs")
    return folder


@pytest.fixture(scope="module")
def site(project: Path) -> Path:
    """The built site."""
    status, printed = build(project)
    assert status == 0, printed
    assert "No issues found" in printed
    return project / "site"


def test_the_site_builds_without_warnings_and_has_every_page(site: Path) -> None:
    for page in PAGES:
        place = page.relative_to(DOCS).with_suffix("")
        assert (site / f"{place}.html").is_file(), page


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[x](nowhere.md)", "page does not exist"),
        ("[x](index.md#nowhere)", "anchor does not exist"),
        ("::: firstlight.nowhere", "firstlight.nowhere could not be found"),
    ],
)
def test_a_link_that_leads_nowhere_fails_the_build(text: str, complaint: str, tmp_path: Path) -> None:
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    del config["nav"], config["plugins"][-1]["mkdocstrings"]["handlers"]["python"]["options"]["extensions"]
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(config))
    (tmp_path / "src").symlink_to(ROOT / "src")
    pages = tmp_path / config["docs_dir"]
    pages.mkdir(parents=True)
    (pages / "index.md").write_text(f"# A page\n\n{text}\n")
    status, printed = build(tmp_path)
    assert status != 0
    assert complaint in printed


def test_the_site_opens_from_disk(site: Path) -> None:
    """Every link inside the site must name an existing file, because a link to a folder would list its files."""
    for page in site.rglob("*.html"):
        for link in re.findall(r'(?:href|src)="([^"#?]+)', page.read_text()) if page.name != "404.html" else []:
            if not urlsplit(link).scheme and not link.startswith("/"):
                assert (page.parent / link).is_file(), f"{page.name} links to {link}"


def test_every_page_can_be_reached(project: Path) -> None:
    listed = str(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    decisions = (project / "build/docs/decisions/index.md").read_text()
    for page in PAGES:
        assert page.name in (decisions if page.parent.name == "decisions" else listed), page


def test_the_command_line_page_is_made_of_every_verbs_help(project: Path) -> None:
    page = (project / "build/docs/cli.md").read_text()
    for verb, purpose in VERBS.items():
        assert f"\n## firstlight {verb}\n" in page
        assert f"usage: firstlight {verb}" in page
        assert page.count(purpose[1:]) >= 2  # in the overview, and at the head of its section
    assert "--optimizer.learning_rate" in page
    assert "\b" not in page
    assert str(Path.home()) not in page


def test_the_python_page_has_every_public_name_with_its_doctests_as_code(site: Path) -> None:
    page = (site / "api.html").read_text()
    for name in set(firstlight.__all__) - {"custom_ResNet"}:
        assert f'id="firstlight.{name}"' in page
    assert 'class="gp">&gt;&gt;&gt;' in page
    assert "<blockquote>" not in page


def test_a_doctest_is_fenced_up_to_the_next_empty_line() -> None:
    fenced = load_script(DOCS / "doctests.py").fenced
    text = "One line.\n\n>>> 1 + 1\n2\n>>> 3\n3\n\nMore; >>> is no doctest here."
    expected = "One line.\n\n```pycon\n>>> 1 + 1\n2\n>>> 3\n3\n```\n\nMore; >>> is no doctest here."
    assert fenced(text) == expected


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=name_of)
def test_links_to_elsewhere_are_well_formed_and_pictures_are_there(page: Path) -> None:
    for url in URL.findall(page.read_text(encoding="utf-8")):
        parts = urlsplit(url)
        if parts.hostname == "127.0.0.1":  # addresses of our own servers
            continue
        assert parts.scheme == "https", url
        assert re.fullmatch(r"([a-z0-9-]+\.)+[a-z]{2,}", parts.netloc), url
    for picture in IMAGE.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / picture).is_file(), f"{picture} is missing: `make figures` draws it"


def test_the_commands_on_the_pages_are_found() -> None:
    found = [each["verb"] for page in PAGES for each in commands(page)]
    assert {"demo", "fit", "explain", "predict", "show", "summary"} <= set(found)


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=name_of)
def test_the_commands_on_a_page_exist(page: Path, project: Path) -> None:
    sections = (project / "build/docs/cli.md").read_text().split("\n## firstlight ")
    help_of = {section.split("\n")[0]: section for section in sections[1:]}
    for command in commands(page):
        assert command["verb"] in help_of, command[0]
        for option in re.findall(r"--[a-z_]+(?:\.[a-z_]+)*", command["rest"]):
            assert f"{option} " in help_of[command["verb"]] or option.startswith("--trainer."), command[0]


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES], ids=name_of)
def test_a_command_can_be_pasted_with_its_explanation(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for code in code_blocks(page, ""):
        for line in code.splitlines():
            if line.startswith(("firstlight ", "make ", "torchrun ")):
                assert "   " not in line.split("#")[0].rstrip(), f"put the explanation behind '#': {line}"
        for target in TARGET.findall(code):
            assert f"\n{target}:" in makefile, f"the Makefile has no target {target}"


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=name_of)
def test_the_source_files_that_a_page_names_exist(page: Path) -> None:
    folders = [ROOT / name for name in ("src", "benchmarks", "tests", "docs", "notebooks")]
    files = [f"/{name_of(path)}" for folder in folders for path in folder.rglob("*.*p*")]
    for name in set(SOURCE_FILE.findall(page.read_text(encoding="utf-8"))) - NOT_OURS:
        assert any(path.endswith(f"/{name}") for path in files), f"{name_of(page)} names {name}, which does not exist"


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=name_of)
def test_the_imports_in_a_pages_python_exist(page: Path) -> None:
    for code in code_blocks(page, "python"):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("firstlight"):
                for each in node.names:
                    assert hasattr(importlib.import_module(node.module or ""), each.name), ast.unparse(node)
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "firstlight":
                assert node.attr in firstlight.__all__, ast.unparse(node)


def run_worked_examples(monkeypatch: pytest.MonkeyPatch, folder: Path, seed: int = 0) -> dict[str, Any]:
    """Run the Python of extending.md from top to bottom in a folder; return its names.

    A block that begins with the name of a file outside src/ is written to that file, from which later blocks import.
    """
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "my_networks", raising=False)
    for table, name in ((SOURCES, "light"), (METHODS, "grad_cam_elementwise")):
        monkeypatch.setitem(table, name, None)  # entries that the page adds are removed after the test
    blocks = code_blocks(DOCS / "extending.md", "python")
    assert len(blocks) >= 10
    names: dict[str, Any] = {"__name__": "extending"}
    for block in blocks:
        if file := re.match(r"# (\w+\.py)\n", block):
            (folder / file[1]).write_text(block)
        else:
            seeded = block.replace("batch_size=32", f"batch_size=32, seed={seed}")
            exec(compile(seeded, "docs/extending.md", "exec"), names)
    return names


def test_the_worked_examples_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = run_worked_examples(monkeypatch, tmp_path)
    assert (tmp_path / "logs/quick8/version_0/model.safetensors").is_file()
    assert (tmp_path / "classes.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "shown.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "plain.svg").read_text()
    assert type(names["run"].network).__name__ == "Plain"
    for path in ("quick8", "own"):
        results = json.loads((tmp_path / f"logs/{path}/version_0/results.json").read_text())
        assert results["test_acc"] == 1, path
    assert names["trainer"].callback_metrics["test_acc"] == 1
    (tmp_path / "logs/demo").mkdir()
    (tmp_path / "logs/own/version_0").rename(tmp_path / "logs/demo/version_0")  # instead of a training of the demo
    for command in commands(DOCS / "extending.md"):
        arguments = command[0].split()[1:]
        if arguments[0] in ("summary", "explain"):
            assert main(arguments) == 0, capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_the_worked_examples_reach_what_they_promise_for_every_seed(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = run_worked_examples(monkeypatch, tmp_path, seed)
    for path in ("quick8", "own"):
        run = tmp_path / f"logs/{path}/version_0"
        assert f"seed: {seed}" in (run / "recipe.yaml").read_text()
        assert json.loads((run / "results.json").read_text())["test_acc"] == 1, path
    assert names["trainer"].callback_metrics["test_acc"] == 1


def test_the_example_of_explaining_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    network = ResNet9(10, ResNet9Config(width=2))
    monkeypatch.setattr(firstlight, "load", lambda path: SimpleNamespace(network=network))
    block, _ = code_blocks(DOCS / "explaining.md", "python")
    names: dict[str, object] = {"__name__": "explaining"}
    exec(compile(block, "docs/explaining.md", "exec"), names)
    assert tuple(names["found"].maps.shape) == (8, 4, 4)  # type: ignore[attr-defined]
    assert tuple(names["found"].upsampled().shape) == (8, 32, 32)  # type: ignore[attr-defined]


def test_the_example_of_a_transformer_runs_and_its_advice_holds() -> None:
    _, block = code_blocks(DOCS / "explaining.md", "python")
    names: dict[str, Any] = {"__name__": "explaining"}
    torch.manual_seed(0)
    exec(compile(block, "docs/explaining.md", "exec"), names)
    assert tuple(names["found"].maps.shape) == (2, 8, 8)
    assert names["found"].maps.any()
    network = names["SmallViT"]().eval()
    options = {"method": "hires_cam", "target": 3}
    last = explain(network, names["images"], stage="block2", reshape=names["patch_grid"], **options)
    assert not last.maps.any(), "only the class token of the last block reaches the head"
    with pytest.raises(UsageError, match=r"stage block1 returns tokens, \[2, 65, 48\].* give reshape"):
        explain(network, names["images"], stage="block1")
    tokens: list[torch.Tensor] = []
    network.block1.register_forward_hook(lambda _, __, output: tokens.append(output.requires_grad_()) or output)
    (gradient,) = torch.autograd.grad(network(names["images"])[:, 3].sum(), tokens[0])
    by_hand = (gradient * tokens[0])[:, 1:].sum(dim=2).unflatten(1, (8, 8))
    maps = explain(network, names["images"], stage="block1", reshape=names["patch_grid"], **options).maps
    torch.testing.assert_close(maps, by_hand.detach(), rtol=1e-4, atol=1e-6)


def test_every_recipe_is_described() -> None:
    page = (DOCS / "training.md").read_text()
    for name in RECIPES:
        assert f"| `{name}` |" in page, f"docs/training.md says nothing of {name}"


def test_the_tables_of_numbers_are_those_of_the_results() -> None:
    command = [sys.executable, ROOT / "benchmarks" / "tables.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
