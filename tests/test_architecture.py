"""The structure: floors, and rules that a reader may rely on."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "src" / "firstlight").rglob("*.py"))
MAX_LINES = 320
RUNS_WHAT_IT_READS = {"eval", "exec", "pickle.load", "pickle.loads", "yaml.load", "marshal.loads"}


def calls(tree: ast.AST) -> list[tuple[str, ast.Call]]:
    """The dotted name of everything that is called."""
    return [(ast.unparse(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def test_imports_point_only_down() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_a_module_says_what_it_is_for_and_stays_small(path: Path) -> None:
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text)), f"{path} has no docstring"
    assert text.count("\n") <= MAX_LINES, f"{path} holds more than one idea"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_no_module_can_run_what_a_file_says(path: Path) -> None:
    for name, call in calls(ast.parse(path.read_text())):
        assert name not in {"eval", "exec", "pickle.load", "pickle.loads", "yaml.load", "marshal.loads"}, (
            f"{path}: {name}"
        )
        keywords = {each.arg: ast.unparse(each.value) for each in call.keywords}
        if name == "torch.load":
            assert keywords.get("weights_only") == "True", f"{path}: torch.load without weights_only=True"
        if name in {"np.load", "numpy.load"}:
            assert keywords.get("allow_pickle") == "False", f"{path}: np.load without allow_pickle=False"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_plots_keep_no_global_state(path: Path) -> None:
    assert "pyplot" not in {
        alias.name.split(".")[-1]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
