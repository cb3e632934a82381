"""Widgets that the Classify and the Mistakes tab share, and the display of errors."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import gradio as gr

from firstlight.app.service import MapOptions, Service
from firstlight.errors import FirstlightError
from firstlight.export.page_texts import METHOD_NAMES, stage_labels
from firstlight.plots.overlay import DEFAULT_OPACITY

EVENT_OPTIONS: dict[str, Any] = {  # of every event that calls the service; at most two run at a time
    "api_visibility": "private",
    "show_progress": "minimal",
    "concurrency_limit": 2,
    "concurrency_id": "model",
}
ERROR_SHOWN_S = 12
SET_OPACITY = "(opacity) => {{ document.documentElement.style.setProperty('--fl-opacity-{tab}', opacity); }}"

_Function = TypeVar("_Function", bound=Callable[..., Any])


def show_errors(function: _Function) -> _Function:
    """Decorate an event handler so that the page shows a FirstlightError in one line; other errors go to the log."""

    @functools.wraps(function)
    def wrapped(*arguments: Any, **named: Any) -> Any:
        try:
            return function(*arguments, **named)
        except FirstlightError as error:
            line = " ".join(str(error).split())
            raise gr.Error(line, duration=ERROR_SHOWN_S, print_exception=False) from error

    return wrapped  # type: ignore[return-value]


@dataclass
class MapControls:
    """The widgets for the options of the evidence map.

    Args:
        shown: Whether to draw a map.
        method: Method of the map.
        stage: Stage of the map.
    """

    shown: gr.Checkbox
    method: gr.Dropdown
    stage: gr.Dropdown

    @staticmethod
    def build(service: Service, tab: str, shown: gr.Checkbox) -> MapControls:
        """Create the widgets in a row; `toggle` creates `shown`, which stands elsewhere on the page.

        The opacity is not sent to the server: the browser blends two layers.
        """
        stages = list(zip(stage_labels(service.stages), service.stages, strict=True))
        methods = [(METHOD_NAMES.get(name, name), name) for name in service.methods]
        with gr.Row():
            method = gr.Dropdown(methods, value=service.methods[0], label="Method", elem_id=f"{tab}-method")
            stage = gr.Dropdown(stages, value=service.stages[-2], label="Stage", elem_id=f"{tab}-stage")
            opacity = gr.Slider(0, 1, DEFAULT_OPACITY, step=0.05, label="Opacity", elem_id=f"{tab}-opacity", buttons=[])
        opacity.input(None, opacity, None, js=SET_OPACITY.format(tab=tab), api_visibility="private")
        return MapControls(shown, method, stage)

    @staticmethod
    def toggle(tab: str) -> gr.Checkbox:
        """Create the widget that turns the map on and off."""
        return gr.Checkbox(True, label="Show the map", elem_id=f"{tab}-map")

    @property
    def widgets(self) -> list[Any]:
        """The widgets in the order of the parameters of `map_options`."""
        return [self.shown, self.method, self.stage]


def map_options(shown: bool, method: str, stage: str) -> MapOptions:
    """Return the options that the widgets of `MapControls` show."""
    return MapOptions(method if shown else None, stage)
