"""The HTTP API: one endpoint, `/classify`, for programs."""

from __future__ import annotations

from typing import Any

import gradio as gr
from PIL import Image

from firstlight.app.markup import data_url
from firstlight.app.picture_input import RawPicture, picture_input
from firstlight.app.service import PREDICTED, ExplainedPrediction, Service
from firstlight.app.upload_limits import Upload
from firstlight.app.widgets import EVENT_OPTIONS, map_options, show_errors
from firstlight.errors import UsageError
from firstlight.plots.overlay import DEFAULT_OPACITY, has_evidence, overlay

DESCRIPTION = (
    "Classify a picture. Returns the most probable classes with calibrated probabilities, whether the picture is "
    "unlike the training data, and on request the evidence map: raw values (rows of numbers) and an overlay."
)


def add_endpoint(service: Service) -> None:
    """Add the endpoint `/classify` to the page that is being built; its widgets are invisible.

    Args:
        service: Service that answers.
    """

    @show_errors
    def classify(
        picture: RawPicture | None,
        top: int | float,
        with_map: bool,
        method: str,
        stage: str,
        explain: str,
        opacity: int | float,
    ) -> dict[str, Any]:
        if picture is None:
            raise UsageError("the request contains no picture: send one as the first parameter")
        if not 0 <= opacity <= 1:
            raise UsageError(f"opacity must be 0 to 1, not {opacity}")
        upload = service.read(picture.content, picture.name)
        answer = service.predict(upload.pixels, map_options(with_map, method, stage), explain)
        return describe(answer, upload, max(1, int(top)), opacity)

    num_classes = len(service.class_names)
    with gr.Column(visible=False):
        inputs = [
            picture_input(label="picture"),
            gr.Slider(1, num_classes, min(3, num_classes), step=1, label="top"),
            gr.Checkbox(True, label="map"),
            gr.Dropdown(list(service.methods), value=service.methods[0], label="method"),
            gr.Dropdown(list(service.stages), value=service.stages[-2], label="stage"),
            gr.Dropdown([PREDICTED, *service.class_names], value=PREDICTED, label="explain"),
            gr.Slider(0, 1, DEFAULT_OPACITY, label="opacity"),
        ]
        output = gr.JSON(label="answer")
        button = gr.Button("classify")
    options = EVENT_OPTIONS | {"api_visibility": "public", "api_name": "classify", "api_description": DESCRIPTION}
    button.click(classify, inputs, output, **options)


def describe(answer: ExplainedPrediction, upload: Upload, top: int, opacity: int | float) -> dict[str, Any]:
    """Return an answer as a dictionary that JSON can represent.

    Args:
        answer: Prediction and its explanation.
        upload: Picture that was classified, with notes on how it was read.
        top: Number of classes to list.
        opacity: Opacity of the overlay's colours, from 0 to 1.
    """
    found: dict[str, Any] = {
        "label": answer.prediction.label,
        "top": [{"label": name, "probability": round(share, 6)} for name, share in answer.prediction.top(top)],
        "unlike_training_data": answer.is_novel,
        "notes": list(upload.notes),
    }
    if answer.evidence is not None:
        picture = Image.fromarray(overlay(answer.pixels, answer.evidence, opacity))
        found["map"] = {
            "explains": answer.explained,
            "stage": answer.stage,
            "has_positive_evidence": has_evidence(answer.evidence),
            "values": [[round(float(value), 6) for value in row] for row in answer.evidence],
            "overlay": data_url(picture),
        }
    return found
