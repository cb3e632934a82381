from __future__ import annotations

from asyncio import Queue
from types import SimpleNamespace

import pytest

from firstlight.app import unread_results
from firstlight.app.unread_results import UnreadResults


def test_only_what_nobody_has_read_for_a_while_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [0.0]
    monkeypatch.setattr(unread_results.time, "monotonic", lambda: now_s[0])
    names = ("unread", "read", "running", "finished")
    sessions: dict[str, Queue[str]] = {name: Queue() for name in names}
    for name in ("unread", "read", "running"):
        sessions[name].put_nowait("first")
    queue = SimpleNamespace(
        pending_messages_per_session=sessions,
        pending_event_ids_session={"unread": {"1"}, "read": {"2"}, "running": {"3"}, "finished": set(), "lost": {"5"}},
        event_ids_to_events={"3": object()},
    )
    unread = UnreadResults(queue, after_s=60.0)
    unread.drop()
    assert set(queue.pending_event_ids_session) == set(names), "nobody can ask for an event without a session"
    now_s[0] = 50.0
    sessions["read"].get_nowait()
    sessions["read"].put_nowait("second")
    unread.drop()
    assert set(sessions) == set(names)
    now_s[0] = 61.0
    unread.drop()
    assert set(sessions) == set(queue.pending_event_ids_session) == {"read", "running"}
    del queue.event_ids_to_events["3"]
    now_s[0] = 200.0
    unread.drop()
    assert set(sessions) == {"running"}, "its time begins when its event has ended"
    now_s[0] = 261.0
    unread.drop()
    assert set(sessions) == set()


def test_gradio_has_what_is_used_here() -> None:
    import gradio as gr

    with gr.Blocks() as page:
        gr.Textbox()
    page.queue()
    UnreadResults(page._queue).drop()
    assert isinstance(page._queue.pending_event_ids_session, dict)
    assert isinstance(page._queue.event_ids_to_events, dict)
