"""Small pieces of HTML: images as data URLs, maps as two layers, text made safe."""

from __future__ import annotations

import base64
import io
from functools import cache
from html import escape

import matplotlib
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from firstlight.plots.overlay import COLOUR_MAP, SCALE_LABEL, has_evidence, overlay

NO_EVIDENCE = "Nothing here speaks for this class."
_SCALE_STEPS = 64


def data_url(image: Image.Image, form: str = "PNG", **options: int) -> str:
    """Return an image as an address that holds all of it."""
    stream = io.BytesIO()
    image.save(stream, format=form, **options)
    return f"data:image/{form.lower()};base64,{base64.b64encode(stream.getvalue()).decode()}"


def pixels(image: UInt8[np.ndarray, "h w 3"], alt: str, name: str = "") -> str:
    """Return an image tag; the style sheet enlarges it without smoothing, so that every pixel is a crisp square.

    >>> pixels(np.zeros((1, 1, 3), np.uint8), 'a "cat"').startswith('<img class="fl-pixels" alt="a &quot;cat&quot;"')
    True
    """
    classes = f"fl-pixels {name}".strip()
    return f'<img class="{classes}" alt="{escape(alt)}" src="{data_url(Image.fromarray(image))}">'


def plain(image: UInt8[np.ndarray, "3 h w"], alt: str) -> str:
    """Return an image tag of raw pixels."""
    return f'<div class="fl-stack">{pixels(np.ascontiguousarray(image.transpose(1, 2, 0)), alt)}</div>'


def mapped(image: UInt8[np.ndarray, "3 h w"], evidence: Float[np.ndarray, "h w"], alt: str) -> str:
    """Return the grey image with its map as a layer of its own, whose opacity the style sheet sets.

    Blending the two layers is `firstlight.plots.overlay.overlay` at that opacity. A map without positive
    evidence says so.
    """
    layers = pixels(overlay(image, evidence, 0.0), alt)
    if has_evidence(evidence):
        layers += pixels(overlay(image, evidence, 1.0), "", "fl-map")
    else:
        layers += f'<span class="fl-none">{NO_EVIDENCE}</span>'
    return f'<div class="fl-stack">{layers}</div>'


@cache
def scale() -> str:
    """Return the colour scale of all maps."""
    colours = matplotlib.colormaps[COLOUR_MAP](np.linspace(0, 1, _SCALE_STEPS))[None, :, :3]
    bar = data_url(Image.fromarray((colours * 255).round().astype(np.uint8)))
    return (
        f'<div class="fl-scale"><div class="fl-scale-row"><span>0</span><img alt="from dark to bright" src="{bar}">'
        f"<span>1</span></div><p>{escape(SCALE_LABEL)}</p></div>"
    )


def table(head: list[str], rows: list[list[str]], name: str = "", num_text_columns: int = 1) -> str:
    """Return a table; cells are text, not HTML, and numbers stand right.

    >>> table(["a"], [["<b>"]]).partition("<tbody>")[2]
    '<tr><td>&lt;b&gt;</td></tr></tbody></table>'
    """

    def side(place: int) -> str:
        return "" if place < num_text_columns else ' class="fl-number"'

    top = "".join(f'<th scope="col"{side(i)}>{escape(cell)}</th>' for i, cell in enumerate(head))
    body = "".join(
        "<tr>" + "".join(f"<td{side(i)}>{escape(cell)}</td>" for i, cell in enumerate(row)) + "</tr>" for row in rows
    )
    return f'<table class="{f"fl-table {name}".strip()}"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'
