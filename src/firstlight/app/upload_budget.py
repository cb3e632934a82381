"""Upload budget: limits the bytes that all visitors together, and each of them, upload within a time window."""

from __future__ import annotations

import time
from collections import deque


class Budget:
    """Limits the bytes that visitors upload within a time window.

    Only bytes that have arrived are spent: uploads that announce much and send nothing keep nobody out.

    Uploads are deleted after this time, so that the budget also limits the disk space that they take.

    Args:
        num_bytes: Largest number of bytes of all visitors within the window.
        window_s: Length of the window in seconds.
        share: Largest part of the budget that one visitor may spend.
    """

    def __init__(self, num_bytes: int, window_s: float, share: float = 0.5) -> None:
        self.num_bytes, self.window_s, self.share = num_bytes, window_s, share
        self._spent: deque[tuple[float, str, int]] = deque()
        self._sums: dict[str, int] = {}  # of each visitor who has spent something within the window

    def has(self, num_bytes: int, visitor: str = "") -> bool:
        """Return whether a visitor may upload this many bytes.

        >>> budget = Budget(100, 60.0)
        >>> budget.spend(40, "a")
        >>> budget.spend(30, "b")
        >>> budget.has(20, "a"), budget.has(10, "a"), budget.has(40, "c"), budget.has(30, "c")
        (False, True, False, True)
        """
        now_s = time.monotonic()
        while self._spent and self._spent[0][0] < now_s - self.window_s:
            _, earlier, size = self._spent.popleft()
            self._sums[earlier] -= size
            if not self._sums[earlier]:
                del self._sums[earlier]
        own = self._sums.get(visitor, 0) + num_bytes
        return own <= self.share * self.num_bytes and sum(self._sums.values()) + num_bytes <= self.num_bytes

    def spend(self, num_bytes: int, visitor: str = "") -> None:
        """Spend bytes that have arrived."""
        self._spent.append((time.monotonic(), visitor, num_bytes))
        self._sums[visitor] = self._sums.get(visitor, 0) + num_bytes
