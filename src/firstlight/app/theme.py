"""Colours and fonts of the page as a Gradio theme; `style.css` holds the rest."""

from __future__ import annotations

import gradio as gr


def make_theme() -> gr.themes.Base:
    """Return a plain theme of system fonts, so that the page loads nothing from other hosts."""
    return gr.themes.Base(
        primary_hue="blue",
        neutral_hue="slate",
        radius_size="md",
        font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
        font_mono=["ui-monospace", "SFMono-Regular", "Consolas", "monospace"],
    ).set(
        # Gradio's own greys have a contrast of 2.6 to 4.2; these have at least 4.5 on every background of the page.
        color_accent="*primary_600",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        block_label_text_color="*neutral_600",
        block_label_text_color_dark="*neutral_200",
        block_title_text_color="*neutral_600",
        block_title_text_color_dark="*neutral_200",
        input_placeholder_color="*neutral_600",
        input_placeholder_color_dark="*neutral_300",
    )
