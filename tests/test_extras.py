from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from firstlight.extras import install_command


def test_the_interpreter_is_named_unless_the_pip_of_the_shell_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    own = Path(sys.executable).with_name("pip")
    for found, start in ((str(own), "pip"), ("/elsewhere/pip", f"{sys.executable} -m pip"), (None, sys.executable)):
        monkeypatch.setattr(shutil, "which", lambda name, found=found: found)
        assert install_command("app").startswith(f"{start} ")
        assert install_command("app").endswith(" install 'firstlight[app]'")
