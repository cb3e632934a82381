"""Unread results: drops what Gradio keeps for clients that never fetch their answers."""

from __future__ import annotations

import time
from typing import Any

AFTER_S = 60.0


class UnreadResults:
    """Drops the messages of sessions that have read nothing for a while.

    Gradio keeps up to 2,000 sessions with their unread answers, tens of kilobytes each, and all event ids forever.

    Args:
        queue: Gradio's queue (`Blocks._queue`); it may be used only on the thread of the server's event loop.
        after_s: Seconds after which unread messages are dropped.
    """

    def __init__(self, queue: Any, after_s: float = AFTER_S) -> None:
        self.queue, self.after_s = queue, after_s
        self._seen: dict[str, tuple[object, float]] = {}  # the oldest message of each session, and when it was seen

    def drop(self) -> None:
        """Drop the sessions whose oldest message is the same as `after_s` ago; memory grows only with requests."""
        now_s = time.monotonic()
        sessions, ids = self.queue.pending_messages_per_session, self.queue.pending_event_ids_session
        seen = {}
        for name, messages in list(sessions.items()):
            if any(event_id in self.queue.event_ids_to_events for event_id in ids.get(name, ())):
                continue  # its events wait or run, and will send it messages
            oldest = _oldest(messages)
            before, since_s = self._seen.get(name, (None, now_s))
            since_s = since_s if before is oldest else now_s
            if now_s - since_s >= self.after_s:
                del sessions[name]
                ids.pop(name, None)
            else:
                seen[name] = (oldest, since_s)
        self._seen = seen
        for name in [name for name in ids if name not in sessions]:
            del ids[name]


def _oldest(messages: Any) -> object:
    """Return the message that waits first, or the queue itself if none waits."""
    return messages._queue[0] if messages.qsize() else messages
