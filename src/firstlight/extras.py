"""Name the command that installs one of firstlight's extras into this Python environment."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path


def install_command(extra: str) -> str:
    """Return the command for the shell, for an installed package as for an editable checkout.

    A `pip` of another environment would not find this firstlight, so the interpreter is named unless the shell's pip is
    that of this environment.

    Args:
        extra: Name of the extra in `pyproject.toml`.
    """
    found = shutil.which("pip")
    is_own = found is not None and Path(found).parent.resolve() == Path(sys.executable).parent.resolve()
    pip = "pip" if is_own else f"{shlex.quote(sys.executable)} -m pip"
    return f"{pip} install 'firstlight[{extra}]'"
