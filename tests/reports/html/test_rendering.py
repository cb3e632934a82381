"""Rendering: JSON and images inside a page, with any text."""

from __future__ import annotations

import base64
import io
import json
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from firstlight.reports.html.rendering import MAX_IMAGE_PX, embed_json, encode_map, image_uri

HOSTILE = ["</script><script>alert(1)</script>", "<!--", "a & b", "\u2028", '"quoted"', "\u202egnp"]


class Scripts(HTMLParser):
    """The texts of all script elements."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag == "script":
            self.texts.append("")

    def handle_data(self, data: str) -> None:
        if self.texts:
            self.texts[-1] += data


@pytest.mark.parametrize("text", HOSTILE)
def test_json_in_a_script_element_is_read_back_unchanged(text):
    parser = Scripts()
    parser.feed(f"<script>{embed_json({text: [text]})}</script>")
    assert len(parser.texts) == 1
    assert json.loads(parser.texts[0]) == {text: [text]}


def test_numbers_that_are_not_json_are_refused():
    with pytest.raises(ValueError, match="JSON"):
        embed_json(float("nan"))


def decoded(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1])))


def test_small_images_keep_every_pixel():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 24), dtype=np.uint8)
    uri = image_uri(pixels)
    assert uri.startswith("data:image/png")
    assert np.array_equal(np.asarray(decoded(uri)).transpose(2, 0, 1), pixels)


def test_large_images_become_small_files():
    uri = image_uri(np.random.default_rng(0).integers(0, 256, (3, 300, 200), dtype=np.uint8))
    assert uri.startswith("data:image/webp")
    assert max(decoded(uri).size) == MAX_IMAGE_PX


def test_encoded_maps_are_decoded_exactly():
    values = np.array([[-127, 0], [1, 127]], np.int8)
    assert np.array_equal(np.frombuffer(base64.b64decode(encode_map(values)), np.int8).reshape(2, 2), values)
