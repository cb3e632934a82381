"""The Classify tab: reads a picture and shows the probabilities of its classes and an evidence map."""

from __future__ import annotations

import base64
import binascii

import gradio as gr
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from firstlight.app.page_scripts import SHOW_ANSWER
from firstlight.app.panels import NOTHING_YET, examples_panel, notes_panel, prediction_panel, refusal_panel
from firstlight.app.picture_input import RawPicture, picture_input
from firstlight.app.service import PREDICTED, Service
from firstlight.app.upload_decoding import ACCEPTED
from firstlight.app.upload_limits import MAX_BYTES
from firstlight.app.widgets import EVENT_OPTIONS, MapControls, map_options, show_errors
from firstlight.errors import DataError, UsageError

MAX_TOP, DEFAULT_TOP = 10, 5
EXAMPLE_PX = 320  # side to which an example is enlarged without interpolation
PICK_EXAMPLE = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('button.fl-example');
  if (button) trigger('click', {index: Number(button.dataset.index)});
});
"""

Outputs = tuple[Image.Image | None, str, str, str]  # preview, encoded pixels, notes, panel


class ClassifyTab:
    """Widgets and events of the tab.

    The page, not the server, keeps the pixels of the current picture, and sends them with every later request.

    Args:
        service: Service that reads and classifies the pictures.
    """

    def __init__(self, service: Service) -> None:
        self.service = service

    def build(self) -> None:
        """Create the widgets and connect their events."""
        with gr.Row(equal_height=False):
            with gr.Column(scale=4, min_width=300):
                picture = picture_input(
                    sources=["upload", "clipboard", "webcam"],
                    label="Picture",
                    height=300,
                    buttons=[],
                    placeholder=f"Drop a picture here, or click\n{ACCEPTED}, {MAX_BYTES // 1_000_000} MB at most",
                    elem_id="picture",
                )
                notes = gr.HTML("", elem_id="notes")
                buttons = examples_panel(self.service.bundle.examples)
                has_examples = self.service.bundle.has_images
                examples = gr.HTML(buttons, js_on_load=PICK_EXAMPLE, elem_id="examples", visible=has_examples)
                clear = gr.Button("Clear", size="sm", elem_id="clear")
            with gr.Column(scale=7, min_width=320):
                panel = gr.HTML(NOTHING_YET, elem_id="answer")
                with gr.Group(elem_classes="fl-controls"):
                    with gr.Row():
                        explained, top = self._build_class_controls()
                        shown = MapControls.toggle("classify")
                    controls = MapControls.build(self.service, "classify", shown)
        encoded = gr.Textbox(visible=False)
        settings = [top, explained, *controls.widgets]
        outputs = [picture, encoded, notes, panel]
        classified = [picture.input(self.classify_upload, [picture, *settings], outputs, **EVENT_OPTIONS)]
        gr.on([picture.clear, clear.click], _empty_outputs, None, outputs, **EVENT_OPTIONS)
        classified.append(examples.click(self.classify_example, settings, outputs, **EVENT_OPTIONS))
        for event in classified:
            event.then(None, None, None, js=SHOW_ANSWER, api_visibility="private")
        changes = [each.input for each in (explained, *controls.widgets)] + [top.release]
        gr.on(changes, self.update_panel, [encoded, *settings], panel, trigger_mode="always_last", **EVENT_OPTIONS)

    def _build_class_controls(self) -> tuple[gr.Dropdown, gr.Slider]:
        names = self.service.class_names
        classes = [("predicted class", PREDICTED), *((name, name) for name in names)]
        explained = gr.Dropdown(classes, value=PREDICTED, label="Class to explain", elem_id="explained")
        most = min(MAX_TOP, len(names))
        top = gr.Slider(1, most, min(DEFAULT_TOP, most), step=1, label="Classes listed", elem_id="top", buttons=[])
        return explained, top

    @show_errors
    def classify_upload(
        self, raw: RawPicture | None, top: int | float, explained: str, shown: bool, method: str, stage: str
    ) -> Outputs:
        """Classify a new picture; if it cannot be read, remove it and show the reason."""
        if raw is None:
            return _empty_outputs()
        try:
            upload = self.service.read(raw.content, raw.name)
        except DataError as error:
            return None, "", "", refusal_panel(str(error))
        panel = self._classify(upload.pixels, top, explained, shown, method, stage)
        return upload.preview, encode_pixels(upload.pixels), notes_panel(upload.notes), panel

    @show_errors
    def classify_example(
        self, top: int | float, explained: str, shown: bool, method: str, stage: str, event: gr.EventData
    ) -> Outputs:
        """Classify an example image."""
        images = self.service.bundle.examples.images
        if not len(images):
            raise UsageError("this model was exported without example images")
        pixels = images[min(max(int(event.index), 0), len(images) - 1)]
        preview = Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
        factor = max(1, EXAMPLE_PX // max(preview.size))
        preview = preview.resize((preview.width * factor, preview.height * factor), Image.Resampling.NEAREST)
        return preview, encode_pixels(pixels), "", self._classify(pixels, top, explained, shown, method, stage)

    @show_errors
    def update_panel(self, encoded: str, top: int | float, explained: str, shown: bool, method: str, stage: str) -> str:
        """Return the panel of the current picture after a widget has changed."""
        if not encoded:
            return NOTHING_YET
        return self._classify(decode_pixels(encoded, self.service.size_px), top, explained, shown, method, stage)

    def _classify(
        self, pixels: UInt8[Tensor, "3 h w"], top: int | float, explained: str, shown: bool, method: str, stage: str
    ) -> str:
        answer = self.service.predict(pixels, map_options(shown, method, stage), explained)
        return prediction_panel(answer, max(1, int(top)))


def encode_pixels(pixels: UInt8[Tensor, "3 h w"]) -> str:
    """Encode pixels as base64 text, which the page keeps.

    >>> encode_pixels(torch.zeros(3, 1, 1, dtype=torch.uint8))
    'AAAA'
    """
    return base64.b64encode(pixels.contiguous().numpy().tobytes()).decode()


def decode_pixels(text: str, size_px: tuple[int, int]) -> UInt8[Tensor, "3 h w"]:
    """Decode the text of `encode_pixels`.

    Raises:
        UsageError: The text does not hold an image of this size; it comes from the browser and may be anything.
    """
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError):
        content = b""
    if len(content) != 3 * size_px[0] * size_px[1]:
        raise UsageError("the picture was lost: choose it again")
    return torch.frombuffer(bytearray(content), dtype=torch.uint8).reshape(3, *size_px)


def _empty_outputs() -> Outputs:
    return None, "", "", NOTHING_YET
