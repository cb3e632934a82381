"""The HTTP API: one endpoint, `/classify`, for programs."""

from __future__ import annotations

from typing import Any

import gradio as gr
from PIL import Image

from firstlight.app.markup import data_url
from firstlight.app.picture_input import RawPicture, picture_input
from firstlight.app.service import PREDICTED, ExplainedPrediction, Service
from firstlight.app.uploads import Upload
from firstlight.app.widgets import QUIETLY, map_options, show_errors
from firstlight.errors import UsageError
from firstlight.plots.overlay import DEFAULT_OPACITY, has_evidence, overlay

DESCRIPTION = (
    "Classify a picture. Returns the most probable classes with calibrated probabilities, whether the picture is "
    "unlike the training data, and, if asked for, the evidence map: raw values (rows of numbers) and an overlay."
)


def add_endpoint(service: Service) -> None:
    """Add `/classify` to the page that is being built; nothing of it is to be seen there."""

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
            raise UsageError("send a picture")
        if not 0 <= opacity <= 1:
            raise UsageError("opacity goes from 0 to 1")
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
    options = QUIETLY | {"api_visibility": "public", "api_name": "classify", "api_description": DESCRIPTION}
    button.click(classify, inputs, output, **options)


def describe(answer: ExplainedPrediction, upload: Upload, top: int, opacity: int | float) -> dict[str, Any]:
    """Return an answer as JSON has it.

    Args:
        answer: of the service.
        upload: the picture.
        top: how many classes.
        opacity: of the overlay's colours, 0 to 1.
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
