"""What differs among Linux, macOS and Windows: the default encoding, POSIX-only modules and signals."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = [path for folder in ("src", "benchmarks", "docs") for path in sorted((ROOT / folder).rglob("*.py"))]
POSIX_ONLY = ("fcntl", "grp", "posix", "pty", "pwd", "resource", "termios", "tty")
POSIX_NAMES = {
    "signal": ("SIGKILL", "SIGHUP", "SIGALRM", "SIGPROF", "SIGUSR1", "SIGUSR2", "ITIMER_PROF", "setitimer", "alarm"),
    "os": ("getuid", "geteuid", "getgid", "killpg", "fork", "sysconf", "fchmod", "getpgid", "setsid", "O_NONBLOCK"),
}


def texts_without_encoding(source: str) -> list[int]:
    """Return the lines of calls that read or write text in the encoding of the system."""
    found = []
    for call in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        is_method = isinstance(call.func, ast.Attribute)
        modes = [each.value for each in call.args if isinstance(each, ast.Constant) and isinstance(each.value, str)]
        is_text = (
            (name == "write_text" and is_method)
            or (name == "read_text" and is_method and not call.args)
            or (name == "open" and not is_method and not any("b" in mode for mode in modes[-1:]))
            or (name == "open" and is_method and modes[-1:] in (["r"], ["w"], ["a"], ["x"]))
        )
        if is_text and not any(each.arg == "encoding" for each in call.keywords):
            found.append(call.lineno)
    return found


def test_the_search_finds_what_it_must() -> None:
    of_the_system = 'p.read_text()\np.write_text("a")\nopen(p)\nopen(p, "w")\np.open("w")\n'
    allowed = 'read_text(p)\nopen(p, "rb")\np.open("wb")\n'
    assert texts_without_encoding(of_the_system + allowed) == [1, 2, 3, 4, 5]
    assert texts_without_encoding('p.read_text(encoding="utf-8")\np.write_text("a", encoding="utf-8")\n') == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_text_files_are_in_utf_8_on_every_system(path: Path) -> None:
    assert texts_without_encoding(path.read_text(encoding="utf-8")) == []


def posix_at_import(tree: ast.AST, is_guarded: bool = False) -> list[str]:
    """Return what fails on Windows when a module is imported: POSIX-only modules and names outside of functions."""
    found = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom) and not is_guarded:
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names]
            found += [name for name in names if name in POSIX_ONLY]
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found += [f"{node.value.id}.{node.attr}"] * (node.attr in POSIX_NAMES.get(node.value.id, ()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            children = [*node.args.defaults, *filter(None, node.args.kw_defaults), *getattr(node, "decorator_list", [])]
            node = ast.Module([ast.Expr(child) for child in children], [])
        found += posix_at_import(node, is_guarded or isinstance(node, ast.Try))
    return found


def test_the_search_for_posix_names_finds_what_it_must() -> None:
    source = """
import fcntl
from resource import setrlimit
SIGNALS = (signal.SIGTERM, signal.SIGKILL)
class Kind:
    user = os.getuid()
def function(uid=os.geteuid()):
    import pwd
    return signal.SIGHUP
try:
    import grp
except ImportError:
    grp = None
"""
    assert posix_at_import(ast.parse(source)) == ["fcntl", "resource", "signal.SIGKILL", "os.getuid", "os.geteuid"]


@pytest.mark.parametrize(
    "path", [path for path in SOURCES if "src" in path.parts], ids=lambda path: path.relative_to(ROOT).as_posix()
)
def test_modules_can_be_imported_on_windows(path: Path) -> None:
    assert posix_at_import(ast.parse(path.read_text(encoding="utf-8"))) == []
