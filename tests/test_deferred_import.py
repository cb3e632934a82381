"""A deferred module runs at the first use of an attribute, whichever way it was imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from firstlight.deferred_import import defer_import


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package that is deferred; it records that it runs."""
    name = "deferred_for_a_test"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("import sys\nsys.ran_deferred = True\nanswer = 42\n")
    (tmp_path / name / "part.py").write_text("value = 7\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "ran_deferred", False, raising=False)
    defer_import(name, known=1)
    yield name
    for each in (name, f"{name}.part"):
        sys.modules.pop(each, None)


def test_it_runs_when_an_attribute_is_read(package: str) -> None:
    import deferred_for_a_test as module  # type: ignore[import-not-found]

    assert (module.known, sys.ran_deferred) == (1, False)
    assert (module.answer, sys.ran_deferred) == (42, True)
    assert not hasattr(module, "known")
    with pytest.raises(AttributeError):
        module.absent  # noqa: B018


def test_it_runs_when_a_name_is_imported_from_it(package: str) -> None:
    from deferred_for_a_test import answer

    assert (answer, sys.ran_deferred) == (42, True)


def test_its_submodules_can_be_imported(package: str) -> None:
    from deferred_for_a_test.part import value

    assert value == 7


def test_a_missing_and_a_loaded_module_stay_as_they_are() -> None:
    defer_import("absent_module")
    defer_import("absent_package.module")
    assert "absent_module" not in sys.modules
    import json

    defer_import("json")
    assert sys.modules["json"] is json


def test_a_training_does_not_load_signal_processing() -> None:
    code = "import firstlight.training.fit, sys; print('scipy.signal._signaltools' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
