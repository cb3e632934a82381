from __future__ import annotations

import pytest

from firstlight.errors import UsageError
from firstlight.training.processes import NODE_VARIABLES, check_nodes


def test_machines_that_nobody_knows_are_missed_instead_of_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NODE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    check_nodes(1)
    with pytest.raises(UsageError, match="runs on 3 machines") as caught:
        check_nodes(3)
    assert "\n" not in str(caught.value)
    monkeypatch.setenv("NODE_RANK", "0")
    check_nodes(3)
