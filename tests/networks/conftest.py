"""What the tests of compiled layers share."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest


@pytest.fixture
def always_compiled(monkeypatch: pytest.MonkeyPatch) -> Callable[[ModuleType], None]:
    """Make the layer of a module take its compiled way for inputs of any size; skip where nothing can be compiled."""

    def take(module: ModuleType) -> None:
        if module._library() is None:
            pytest.skip("nothing can be compiled here")
        monkeypatch.setattr(module, "MIN_NUMBERS", 0)

    return take
