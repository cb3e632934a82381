"""Functions that return pieces of HTML: images as data URLs, maps as two layers, and tables. All text is escaped."""

from __future__ import annotations

import base64
import io
from functools import cache
from html import escape

import matplotlib
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from firstlight.export.page_texts import NO_EVIDENCE, SCALE_ALT
from firstlight.plots.overlay import COLOUR_MAP, SCALE_LABEL, has_evidence, overlay

_SCALE_STEPS = 64


def data_url(image: Image.Image, form: str = "PNG", **options: int) -> str:
    """Return an image as a data URL."""
    stream = io.BytesIO()
    image.save(stream, format=form, **options)
    return f"data:image/{form.lower()};base64,{base64.b64encode(stream.getvalue()).decode()}"


def image_tag(image: UInt8[np.ndarray, "h w 3"], alt: str, name: str = "") -> str:
    """Return an image tag; the style sheet enlarges the image without interpolation.

    >>> image_tag(np.zeros((1, 1, 3), np.uint8), 'a "cat"')[:47]
    '<img class="fl-pixels" alt="a &quot;cat&quot;" '
    """
    classes = f"fl-pixels {name}".strip()
    return f'<img class="{classes}" alt="{escape(alt)}" src="{data_url(Image.fromarray(image))}">'


def picture_html(image: UInt8[np.ndarray, "3 h w"], alt: str) -> str:
    """Return an image without a map."""
    return f'<div class="fl-stack">{image_tag(np.ascontiguousarray(image.transpose(1, 2, 0)), alt)}</div>'


def map_html(image: UInt8[np.ndarray, "3 h w"], evidence: Float[np.ndarray, "h w"], alt: str) -> str:
    """Return the grey image with its map as a second layer, whose opacity the style sheet sets.

    Blended at that opacity, the two layers look like `firstlight.plots.overlay.overlay`. A map without positive
    evidence is replaced by a label.
    """
    layers = image_tag(overlay(image, evidence, 0.0), "the picture in grey")
    if has_evidence(evidence):
        layers += image_tag(overlay(image, evidence, 1.0), f"{alt}: brighter where it is stronger", "fl-map")
    else:
        layers += f'<span class="fl-none">{NO_EVIDENCE}</span>'
    return f'<div class="fl-stack">{layers}</div>'


@cache
def scale_html() -> str:
    """Return the colour scale of all maps."""
    colours = matplotlib.colormaps[COLOUR_MAP](np.linspace(0, 1, _SCALE_STEPS))[None, :, :3]
    bar = data_url(Image.fromarray((colours * 255).round().astype(np.uint8)))
    return (
        f'<div class="fl-scale"><div class="fl-scale-row"><span>0</span><img alt="{SCALE_ALT}" src="{bar}">'
        f"<span>1</span></div><p>{escape(SCALE_LABEL)}</p></div>"
    )


def table(head: list[str], rows: list[list[str]], name: str = "", num_text_columns: int = 1) -> str:
    """Return a table; cells are text, not HTML, and numbers are aligned right.

    >>> table(["a"], [["<b>"]]).partition("<tbody>")[2]
    '<tr><td>&lt;b&gt;</td></tr></tbody></table>'
    """

    def side(column: int) -> str:
        return "" if column < num_text_columns else ' class="fl-number"'

    top = "".join(f'<th scope="col"{side(i)}>{escape(cell)}</th>' for i, cell in enumerate(head))
    body = "".join(
        "<tr>" + "".join(f"<td{side(i)}>{escape(cell)}</td>" for i, cell in enumerate(row)) + "</tr>" for row in rows
    )
    return f'<table class="{f"fl-table {name}".strip()}"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'


def scrolling(content: str, label: str, name: str = "") -> str:
    """Return content in a box that scrolls sideways by mouse, finger and keyboard, with a hint where it does.

    Args:
        content: HTML.
        label: Name of the box for screen readers.
        name: Further class of the box.

    >>> scrolling("<table></table>", "layers").count('tabindex="0"')
    1
    """
    attributes = f'class="{f"fl-scroll {name}".strip()}" role="region" aria-label="{escape(label)}" tabindex="0"'
    return (
        f'<div class="fl-wide"><div {attributes}>{content}</div>'
        '<p class="fl-hint">Scroll sideways to see the rest.</p></div>'
    )
