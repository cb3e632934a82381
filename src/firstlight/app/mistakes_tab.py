"""The Mistakes tab: misclassified test images with filters and evidence maps."""

from __future__ import annotations

from typing import Any

import gradio as gr

from firstlight.app.page_scripts import SHOW_FIRST_MISTAKE
from firstlight.app.panels import mistakes_panel, no_images_panel
from firstlight.app.service import ANY_CLASS, Service
from firstlight.app.widgets import EVENT_OPTIONS, MapControls, map_options, show_errors


class MistakesTab:
    """Widgets and events of the tab.

    Args:
        service: Service that answers.
    """

    def __init__(self, service: Service) -> None:
        self.service = service
        self.num_tested = int(service.bundle.measured["test"]["num_images"])

    def build(self) -> None:
        """Create the widgets and connect their events."""
        if not self.service.bundle.has_images:
            gr.HTML(no_images_panel(), elem_id="wrong")
            return
        classes = [("any class", ANY_CLASS), *((name, name) for name in self.service.class_names)]
        first = self.service.mistakes()
        with gr.Group(elem_classes="fl-controls"):
            with gr.Row():
                true = gr.Dropdown(classes, value=ANY_CLASS, label="True class", elem_id="true")
                predicted = gr.Dropdown(classes, value=ANY_CLASS, label="Predicted class", elem_id="said")
                shown = MapControls.toggle("mistakes")
            controls = MapControls.build(self.service, "mistakes", shown)
        panel = gr.HTML(mistakes_panel(first, self.num_tested), elem_id="wrong")
        number = gr.Number(1, visible=False, precision=0)
        with gr.Row(elem_classes="fl-pager"):
            back = gr.Button("Previous", size="sm", interactive=False, elem_id="back", min_width=100)
            forward = gr.Button("Next", size="sm", interactive=first.num_pages > 1, elem_id="next", min_width=100)
        inputs: list[Any] = [number, true, predicted, *controls.widgets]
        outputs: list[Any] = [panel, number, back, forward]
        gr.on(
            [true.input, predicted.input], self.first_page, inputs, outputs, trigger_mode="always_last", **EVENT_OPTIONS
        )
        changes = [each.input for each in controls.widgets]
        gr.on(changes, self.this_page, inputs, outputs, trigger_mode="always_last", **EVENT_OPTIONS)
        for turned in (
            back.click(self.previous_page, inputs, outputs, **EVENT_OPTIONS),
            forward.click(self.next_page, inputs, outputs, **EVENT_OPTIONS),
        ):
            turned.then(None, None, None, js=SHOW_FIRST_MISTAKE, api_visibility="private")

    @show_errors
    def first_page(self, _: int | float, true: str, predicted: str, *options: Any) -> tuple[Any, ...]:
        """Show the first page for a new filter."""
        return self._page(1, true, predicted, *options)

    @show_errors
    def this_page(self, number: int | float, true: str, predicted: str, *options: Any) -> tuple[Any, ...]:
        """Show the same page with other options of the map."""
        return self._page(int(number), true, predicted, *options)

    @show_errors
    def previous_page(self, number: int | float, true: str, predicted: str, *options: Any) -> tuple[Any, ...]:
        """Show the previous page."""
        return self._page(int(number) - 1, true, predicted, *options)

    @show_errors
    def next_page(self, number: int | float, true: str, predicted: str, *options: Any) -> tuple[Any, ...]:
        """Show the next page."""
        return self._page(int(number) + 1, true, predicted, *options)

    def _page(
        self, number: int, true: str, predicted: str, shown: bool, method: str, stage: str
    ) -> tuple[str, int, Any, Any]:
        page = self.service.mistakes(true, predicted, number, map_options(shown, method, stage))
        back = gr.update(interactive=page.number > 1)
        forward = gr.update(interactive=page.number < page.num_pages)
        return mistakes_panel(page, self.num_tested), page.number, back, forward
