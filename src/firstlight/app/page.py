"""The page: three tabs and the endpoint. `service` computes the answers; `panels` and `style.css` show them."""

from __future__ import annotations

import gradio as gr

from firstlight.app.checked_inputs import check_inputs
from firstlight.app.classify_tab import ClassifyTab
from firstlight.app.endpoint import add_endpoint
from firstlight.app.mistakes_tab import MistakesTab
from firstlight.app.model_tab import model_panel
from firstlight.app.page_scripts import MARK_SCROLLING
from firstlight.app.panels import header
from firstlight.app.service import Service

MAX_WAITING = 64  # requests in the queue; further requests are rejected


def build_page(service: Service) -> gr.Blocks:
    """Return the page of a service; it is not served yet.

    Args:
        service: Service that answers.
    """
    title = f"firstlight: {service.bundle.title}"
    with gr.Blocks(title=title, analytics_enabled=False) as page:
        gr.HTML(header(service.bundle))
        with gr.Tabs():
            with gr.Tab("Classify", id="classify"):
                ClassifyTab(service).build()
            with gr.Tab("Mistakes", id="mistakes"):
                MistakesTab(service).build()
            with gr.Tab("Model", id="model"):
                gr.HTML(model_panel(service.bundle), js_on_load=MARK_SCROLLING)
        add_endpoint(service)
    check_inputs(page)
    page.queue(max_size=MAX_WAITING, api_open=False)
    return page
