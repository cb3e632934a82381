"""Rendering of Jinja2 templates into one HTML file that requests nothing from a network.

Class names and file names are untrusted: the templates escape them, and a content security policy allows no script
but the page's own.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int8, UInt8
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup
from PIL import Image

FOLDER = Path(__file__).parent
MAX_PNG_PX = 64  # larger images are stored as WebP, which is smaller for photographs
MAX_IMAGE_PX = 160  # longer side of an image on the page
WEBP_QUALITY = 85


def render_page(
    template: str, script: str | Sequence[str], style: str | Sequence[str], data: dict[str, Any] | None, **context: Any
) -> str:
    """Render a template with its script, style and data inside.

    Args:
        template: File name of the template.
        script: File name of the script that reads the data, or several file names in the order of execution.
        style: File name of the style sheet, or several file names in their order.
        data: Data for the script, which the template embeds as JSON; None if the script needs none.
        **context: Variables of the template; their text is escaped.
    """
    code, styles = _joined(script), _joined(style)
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    return _template(template).render(
        script=Markup(code),
        style=Markup(styles),
        script_digest=digest,
        data=embed_json(data),
        **context,
    )


def _joined(names: str | Sequence[str]) -> str:
    """Return the text of one file of this folder, or of several."""
    names = [names] if isinstance(names, str) else names
    return "\n".join((FOLDER / name).read_text(encoding="utf-8") for name in names)


def _template(name: str) -> Template:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def embed_json(value: Any) -> Markup:
    r"""Return a value as JSON that is safe inside a `script` element, whatever its strings contain.

    >>> str(embed_json({"name": "</script>&"}))
    '{"name":"\\u003c/script\\u003e\\u0026"}'
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def image_uri(image: UInt8[np.ndarray, "3 h w"]) -> str:
    """Return an image as a data URI: PNG if it is small, else WebP with a longer side of at most 160 pixels.

    Args:
        image: Image, uint8 [3 h w].

    >>> image_uri(np.zeros((3, 2, 2), np.uint8))[:22]
    'data:image/png;base64,'
    """
    picture = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
    stream = io.BytesIO()
    if max(picture.size) <= MAX_PNG_PX:
        picture.save(stream, "PNG", optimize=True)
        kind = "png"
    else:
        picture.thumbnail((MAX_IMAGE_PX, MAX_IMAGE_PX))
        picture.save(stream, "WEBP", quality=WEBP_QUALITY)
        kind = "webp"
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"


def encode_map(values: Int8[np.ndarray, "h w"]) -> str:
    """Return a map as base64 of its bytes, row by row.

    >>> encode_map(np.array([[-127, 0, 127]], np.int8))
    'gQB/'
    """
    return base64.b64encode(values.tobytes()).decode()
