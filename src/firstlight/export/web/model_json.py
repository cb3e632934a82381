"""`model.json`: everything that the page shows of a model, apart from its pictures."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from firstlight.attribution import ALL_STAGES
from firstlight.data.decoding import MAX_PIXELS
from firstlight.diagram import draw_network
from firstlight.export import page_texts
from firstlight.export.bundle import Bundle
from firstlight.export.model_facts import LAYER_HEAD, NOVELTY_HEAD, layer_rows, novelty_rows, tiles
from firstlight.files import write_atomic
from firstlight.plots.overlay import COLOUR_MAP, DEFAULT_OPACITY, SCALE_LABEL
from firstlight.summary import summarize

MODEL_JSON, DIAGRAM_NAME = "model.json", "network.svg"
MAX_BYTES = 50_000_000  # largest file of a picture; decoding a larger one could exhaust the browser's memory
ACCEPTED = "JPEG, PNG, WebP, GIF or BMP"
NUM_COLOURS = 256


def write_model_json(
    bundle: Bundle, folder: Path, metadata: Mapping[str, str], examples: Mapping[str, Any] | None, has_mistakes: bool
) -> None:
    """Write `model.json` and the drawing of the network.

    Args:
        bundle: Model to show.
        folder: Folder to write to.
        metadata: Metadata of the ONNX file, whose inputs `method` and `stage` are indices into its lists.
        examples: Sheets and classes of the example images; None if the page has none.
        has_mistakes: Whether the page has the misclassified test images.
    """
    methods, stages = json.loads(metadata["methods"]), json.loads(metadata["stages"])
    content = {
        "title": bundle.title,
        "about": f"{page_texts.task_text(bundle)} {page_texts.accuracy_text(bundle)}",
        "class_names": list(bundle.class_names),
        "size_px": list(bundle.size_px),
        "methods": _options(methods, [page_texts.METHOD_NAMES.get(name, name) for name in methods]),
        "stages": _options(stages, page_texts.stage_labels(stages)),
        "default_stage": len([name for name in stages if name != ALL_STAGES]) - 1,
        "default_opacity": DEFAULT_OPACITY,
        "colours": _colours(),
        "limits": {"max_bytes": MAX_BYTES, "max_pixels": MAX_PIXELS, "accepted": ACCEPTED},
        "texts": _texts(bundle),
        "tiles": [[tile.value, tile.what, tile.how] for tile in tiles(bundle)],
        "confusion": bundle.measured["confusion"],
        "novelty": {"head": NOVELTY_HEAD, "rows": novelty_rows(bundle)},
        "layers": {"head": LAYER_HEAD, "rows": layer_rows(summarize(bundle.network, bundle.size_px[0]))},
        "examples": examples,
        "has_mistakes": has_mistakes,
    }
    write_atomic(folder / MODEL_JSON, json.dumps(content, ensure_ascii=False) + "\n")
    write_atomic(folder / DIAGRAM_NAME, _diagram(bundle))


def _options(names: list[str], labels: list[str]) -> list[dict[str, str]]:
    return [{"name": name, "label": label} for name, label in zip(names, labels, strict=True)]


def _colours() -> list[list[float]]:
    """Return the colours of the maps, from the smallest share of evidence to the largest, 0 to 255."""
    table = matplotlib.colormaps[COLOUR_MAP](np.arange(NUM_COLOURS))[:, :3] * 255
    return [[round(float(channel), 3) for channel in colour] for colour in table]


def _texts(bundle: Bundle) -> dict[str, str]:
    return {
        "novel_title": page_texts.NOVEL_TITLE,
        "novel": page_texts.NOVEL,
        "novelty": page_texts.NOVELTY,
        "calibration": page_texts.CALIBRATION,
        "no_evidence": page_texts.NO_EVIDENCE,
        "scale": SCALE_LABEL,
        "scale_alt": page_texts.SCALE_ALT,
        "diagram_alt": page_texts.diagram_text(bundle),
    }


def _diagram(bundle: Bundle) -> str:
    stream = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "firstlight"}):  # the same drawing for the same network
        draw_network(bundle.network, bundle.size_px[0]).savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()
