"""Colours and letters of the page, for Gradio; the rest is in `style.css`."""

from __future__ import annotations

import gradio as gr


def make_theme() -> gr.themes.Base:
    """Return a quiet theme of system fonts: nothing is loaded from elsewhere."""
    return gr.themes.Base(
        primary_hue="blue",
        neutral_hue="slate",
        radius_size="md",
        font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
        font_mono=["ui-monospace", "SFMono-Regular", "Consolas", "monospace"],
    )
