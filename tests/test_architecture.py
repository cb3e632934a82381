"""The architecture: floors, and rules that a reader may rely on."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
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
def test_every_module_has_a_docstring_and_is_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text)), f"{path} has no docstring"
    assert text.count("\n") <= MAX_LINES, f"{path} holds more than one idea"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_no_module_can_execute_code_from_a_file(path: Path) -> None:
    for name, call in calls(ast.parse(path.read_text(encoding="utf-8"))):
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
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }


def imported(path: Path) -> set[str]:
    """The packages that a module imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize(
    ("library", "shelves"),
    [
        ("pytorch_lightning", {"training", "sweeps"}),
        ("lightning_fabric", {"training", "sweeps"}),
        ("gradio", {"app"}),
        ("optuna", {"sweeps"}),
        ("ray", {"ray_cluster.py", "sweeps"}),
    ],
)
def test_a_library_is_imported_by_one_package(library: str, shelves: set[str]) -> None:
    package = ROOT / "src" / "firstlight"
    users = {path.relative_to(package) for path in MODULES if library in imported(path)}
    assert not {str(path) for path in users if path.parts[0] not in shelves}


def test_no_module_name_means_two_things() -> None:
    """A verb in `cli/` may bear the name of what it calls."""
    names = Counter(
        path.stem for path in MODULES if path.stem not in {"__init__", "__main__"} and "cli" not in path.parts
    )
    assert not [name for name, count in names.items() if count > 1]
