"""The upload widget: Gradio's, but what comes in is bytes, and what goes out stays off the disk."""

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
from firstlight.app.uploads import MAX_BYTES

_QUALITY = 88  # of the preview


@dataclass(frozen=True)
class RawPicture:
    """A file as it was uploaded: nothing has been decoded.

    Args:
        content: of the file.
        name: of the file, as the user's machine calls it.
    """

    content: bytes
    name: str


def picture_input(**options: Any) -> gr.Image:
    """Return Gradio's image widget for upload, clipboard and webcam, without Gradio's decoding.

    Gradio would open whatever is uploaded with every decoder that Pillow has, and would write what is shown into a
    folder. Here the bytes go to `firstlight.app.uploads` untouched, and the preview travels inside the page. (Not a
    subclass: Gradio writes a stub file beside the module of every subclass that it meets.)

    Args:
        **options: of `gradio.Image`.
    """
    widget = gr.Image(type="filepath", **options)
    widget.preprocess = raw_picture  # type: ignore[method-assign,assignment]
    widget.postprocess = preview  # type: ignore[method-assign,assignment]
    return widget


def raw_picture(payload: ImageData | None) -> RawPicture | None:
    """Return the bytes of an upload; Gradio has made sure that the path is inside its upload folder."""
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
            raise gr.Error(f"{name} is larger than {MAX_BYTES // 1_000_000} MB: shrink it", print_exception=False)
        return RawPicture(path.read_bytes(), name)
    except OSError as error:
        raise gr.Error(f"{name} is here no longer: choose it again", print_exception=False) from error


def preview(image: Image.Image | None) -> Base64ImageData | None:
    """Return what holds all of a picture; no file is written."""
    return None if image is None else Base64ImageData(url=data_url(image, "JPEG", quality=_QUALITY))


def _inside(address: str) -> bytes:
    """Decode a data URL; what is none comes back as no bytes, which is refused as an empty file."""
    try:
        return base64.b64decode(address.partition(",")[2], validate=True)
    except (binascii.Error, ValueError):
        return b""
