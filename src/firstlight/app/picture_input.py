"""The upload widget: Gradio's image widget, changed to pass on uploads as bytes and to write no preview to disk."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import Base64ImageData, ImageData
from PIL import Image

from firstlight.app.markup import data_url
from firstlight.app.upload_limits import MAX_BYTES

_QUALITY = 88  # JPEG quality of the preview


@dataclass(frozen=True)
class RawPicture:
    """A file as it was uploaded, not decoded.

    Args:
        content: Bytes of the file.
        name: Name of the file on the user's machine.
    """

    content: bytes
    name: str


def picture_input(**options: Any) -> gr.Image:
    """Return Gradio's image widget for upload, clipboard and webcam, without Gradio's decoding.

    Gradio would open every upload with all decoders of Pillow and write previews into a folder. Here the bytes go to
    `firstlight.app.upload_limits` unchanged, and the preview is sent inside the page. The widget is not a subclass,
    because Gradio writes a stub file beside the module of every subclass.

    Args:
        **options: Arguments of `gradio.Image`.
    """
    widget = gr.Image(type="filepath", **options)
    widget.preprocess = raw_picture  # type: ignore[method-assign,assignment]
    widget.postprocess = preview  # type: ignore[method-assign,assignment]
    return widget


def raw_picture(payload: ImageData | None) -> RawPicture | None:
    """Return the bytes of an upload; Gradio has checked that the path is inside its upload folder."""
    if payload is None:
        return None
    name = payload.orig_name or "the picture"
    if payload.url and payload.url.startswith("data:"):
        return RawPicture(_inside(payload.url), name)
    if payload.path is None:
        return None
    try:
        path = Path(payload.path)
        if path.stat().st_size > MAX_BYTES:
            raise gr.Error(
                f"{name} is larger than {MAX_BYTES // 1_000_000} MB: choose a smaller file", print_exception=False
            )
        return RawPicture(path.read_bytes(), name)
    except OSError as error:
        raise gr.Error(f"{name} has been deleted in the meantime: choose it again", print_exception=False) from error


def preview(image: Image.Image | None) -> Base64ImageData | None:
    """Return a picture as a data URL, so that no file is written."""
    return None if image is None else Base64ImageData(url=data_url(image, "JPEG", quality=_QUALITY))


def _inside(address: str) -> bytes:
    """Decode a data URL; other text gives no bytes, which are rejected as an empty file."""
    try:
        return base64.b64decode(address.partition(",")[2], validate=True)
    except (binascii.Error, ValueError):
        return b""
