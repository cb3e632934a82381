"""The notebook: committed with its outputs, and it runs from top to bottom."""

from __future__ import annotations

import ast
import base64
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager

import firstlight
from firstlight.data.batches import Augmentation
from firstlight.recipes import get_recipe

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "notebooks" / "first_light.ipynb"
FENCE = re.compile(r"^ *```python\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
FIGURES = {"samples", "classes", "channels", "augmentation", "diagram", "curves", "mistakes", "layers", "own"}
TABLES = {"summary": "receptive", "trust": "deletion"}  # cell: a word in its heading
STORY = ["settings", "recipe", *("samples", "classes", "channels", "augmentation"), "summary", "diagram", "fit"]
STORY += ["curves", "tensorboard", "test", "mistakes", "trust", "own"]
HERE = ("/home/", "/root/", "/tmp/", "/work/", "/Users/")


def read() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def code_cells(notebook: nbformat.NotebookNode) -> dict[str, nbformat.NotebookNode]:
    """The code cells by their ids, in order."""
    return {cell.id: cell for cell in notebook.cells if cell.cell_type == "code"}


def shown(cell: nbformat.NotebookNode, kind: str) -> list[str]:
    """Return what a cell displays as a MIME type."""
    return [each.data[kind] for each in cell.outputs if "data" in each and kind in each.data]


def printed(cell: nbformat.NotebookNode) -> str:
    return "".join(each.text for each in cell.outputs if each.output_type == "stream")


def check_outputs(notebook: nbformat.NotebookNode) -> None:
    """Check that every cell has run in order without an error and has the expected outputs."""
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells.values()] == list(range(1, len(cells) + 1))
    for name, cell in cells.items():
        assert not [each for each in cell.outputs if each.output_type == "error"], name
        assert "Warning" not in printed(cell), name
    for name in FIGURES:
        (figure,) = shown(cells[name], "image/png")
        assert base64.b64decode(figure).startswith(b"\x89PNG"), name
    for name, word in TABLES.items():
        assert word in "".join(shown(cells[name], "text/html")), name
    assert "iframe" in "".join(shown(cells["tensorboard"], "text/html"))
    assert "run folder logs" in printed(cells["fit"])
    assert "test " in printed(cells["test"])
    for line in printed(cells["sum"]).strip().splitlines():
        words = line.split()
        assert float(words[4]) == pytest.approx(float(words[6]), abs=2e-3), line


def test_it_is_committed_with_its_outputs() -> None:
    check_outputs(read())


def test_its_outputs_name_no_machine_and_are_small() -> None:
    for name, cell in code_cells(read()).items():
        text = printed(cell) + "".join(shown(cell, "text/plain")) + "".join(shown(cell, "text/html"))
        assert not [place for place in HERE if place in text], name
    assert NOTEBOOK.stat().st_size < 8e6


def test_its_sections_are_in_order_and_explained() -> None:
    notebook = read()
    order = list(code_cells(notebook))
    assert [name for name in order if name in STORY] == STORY
    assert order[0] == "settings"
    assert "CIFAR10 = False" in code_cells(notebook)["settings"].source
    explained = [
        before.cell_type
        for before, cell in zip(notebook.cells, notebook.cells[1:], strict=False)
        if cell.cell_type == "code" and cell.id != "imports"
    ]
    assert set(explained) == {"markdown"}


def test_its_code_compiles_and_is_clean() -> None:
    for name, cell in code_cells(read()).items():
        compile(TransformerManager().transform_cell(cell.source), name, "exec")
    ruff = Path(sys.executable).with_name("ruff")
    for arguments in (("check", "--no-cache"), ("format", "--check", "--no-cache")):
        command = [ruff, *arguments, NOTEBOOK, NOTEBOOK.with_name("build.py")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)
        assert done.returncode == 0, done.stdout


def test_it_uses_public_names_only() -> None:
    code = [cell.source for cell in code_cells(read()).values()]
    code += [textwrap.dedent(block) for cell in read().cells for block in FENCE.findall(cell.source)]
    used = set()
    for source in code:
        for node in ast.walk(ast.parse(TransformerManager().transform_cell(source))):
            if isinstance(node, ast.ImportFrom):
                assert not (node.module or "").startswith("firstlight"), ast.unparse(node)
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "firstlight":
                used.add(node.attr)
    assert used <= set(firstlight.__all__)
    assert {"fit", "explain", "summarize", "CustomResNet", "Augmentation"} <= used


def test_code_in_its_texts_can_be_pasted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each block uses only names that it or the cells above define."""
    called: list[str] = []
    monkeypatch.setattr(firstlight, "fit", lambda recipe, *_, **__: called.append(recipe.data))
    names: dict[str, object] = {"recipe": get_recipe("demo"), "DATA_DIR": "data"}
    imports = code_cells(read())["imports"].source.replace("%matplotlib inline\n", "")
    exec(compile(imports, "imports", "exec"), names)
    blocks = [block for cell in read().cells if cell.cell_type == "markdown" for block in FENCE.findall(cell.source)]
    assert len(blocks) == 3
    for block in map(textwrap.dedent, blocks):
        if "CustomResNet" not in block:  # the five lines are executed in tests/training/test_exercise.py
            exec(compile(block, "text", "exec"), names)
    assert called == ["watermark"]
    assert names["unaugmented"].augmentation == Augmentation(0, "none")  # type: ignore[attr-defined]


@pytest.mark.slow
def test_it_runs_from_top_to_bottom(tmp_path: Path) -> None:
    executed = tmp_path / "executed.ipynb"
    command = [sys.executable, NOTEBOOK.with_name("build.py"), "--quick", "--out", executed]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    check_outputs(nbformat.read(executed, as_version=4))
