"""Draws the figures in docs/figures again.

    python docs/figures.py [--run RUN] [--data_dir DIR]
    python docs/figures.py --bundled

The front figure and the sheet of mistakes are drawn from the bundled model and need no run. The other figures are
drawn from a run: by default the newest one in logs/, or a new demo.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from firstlight.data.batches import to_unit
from firstlight.diagram import draw_network
from firstlight.errors import RunError
from firstlight.evaluation.mistakes import MistakeFilter
from firstlight.export.bundle import bundled
from firstlight.files import atomic
from firstlight.networks import build_network
from firstlight.plots.effective_receptive_field import MeasuredField, effective_receptive_fields
from firstlight.plots.figure import LABEL_SIZE, Figure, save_figure
from firstlight.plots.mistake_sheet import class_caption, mistake_sheet
from firstlight.plots.overlay import SCALE_LABEL
from firstlight.receptive_field import effective_size_px, gradient_energy, output_layer, trace
from firstlight.recipes import get_recipe
from firstlight.reports.explained_mistakes import explain_mistakes
from firstlight.runs.run import Run, latest_run, load
from firstlight.training.fit import fit
from firstlight.training.retest import load_test_images

FIGURES = Path(__file__).parent / "figures"
MEASURED_STAGES = ("residual1", "layer2", "residual3")
NUM_MEASURED = 128  # images
NUM_FRONT, NUM_SHEET = 3, 9  # mistakes in the front figure and in the sheet
FRONT_FONT_SIZE = 13.0  # points on a figure 6 inches wide: 10 pixels on a page 390 pixels wide


def find_run(named: str | None) -> Run:
    """The run that was named, else the newest, else a new demo."""
    if named:
        return load(named)
    try:
        return latest_run("logs")
    except RunError:
        return fit(get_recipe("demo"))


def draw_front() -> Figure:
    """Draw three mistakes of the bundled model below each other, with letters that a phone's width leaves legible."""
    label = "evidence for the class, from none to the strongest (Grad-CAM)"
    return draw_bundled_mistakes(NUM_FRONT, label, num_columns=1, font_size=FRONT_FONT_SIZE)


def draw_bundled_mistakes(count: int, scale_label: str, num_columns: int, font_size: float) -> Figure:
    """Draw the most confident mistakes of the bundled model."""
    bundle = bundled()
    predictions = bundle.mistakes.predictions.calibrated(bundle.temperature)
    num_tested = bundle.measured["test"]["num_images"]
    mistakes = MistakeFilter(count=count).select(predictions, bundle.class_names)
    explained = explain_mistakes(bundle.network, bundle.mistakes.images, mistakes)
    captions = [
        (
            "image",
            class_caption("says", item.predicted_name, item.mistake.predicted_probability),
            class_caption("is", item.true_name, item.mistake.true_probability),
        )
        for item in explained
    ]
    title = f"Misclassified: {len(predictions)} of {num_tested:,} {bundle.data.name} test images"
    pixels, maps = [item.pixels for item in explained], [item.upsampled() for item in explained]
    return mistake_sheet(pixels, maps, captions, title, scale_label, num_columns, font_size)


def draw_receptive_fields(run: Run, pixels: Tensor) -> Figure:
    """Draw where the stages look, with the weights as they are drawn at random and as the run left them."""
    torch.manual_seed(run.recipe.seed)
    untrained = build_network(len(run.class_names), run.recipe.network)
    untrained.normalize.load_state_dict(run.network.normalize.state_dict())
    rows = [list(measure(untrained, pixels, "untrained")), list(measure(run.network, pixels, "trained"))]
    return effective_receptive_fields(rows, "Where the central unit of a stage looks")


def measure(network: nn.Module, pixels: Tensor, word: str) -> Iterator[MeasuredField]:
    """Yield the effective receptive field of every stage of `MEASURED_STAGES`."""
    layers = trace(network, pixels.shape[-1])
    for stage in MEASURED_STAGES:
        energy = gradient_energy(network, pixels, stage)
        layer = output_layer(layers, stage)
        sizes = f"effective {effective_size_px(energy):.0f} px of {layer.rows.receptive_field_px} px"
        yield MeasuredField(energy.numpy(), layer.box_px, f"{stage}, {word}\n{sizes}")


def main() -> None:
    """Draw every figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", default=None)
    parser.add_argument("--data_dir", default=None)
    parser.add_argument("--bundled", action="store_true")
    options = parser.parse_args()
    save_figure(draw_front(), FIGURES / "front.png")
    sheet = draw_bundled_mistakes(
        NUM_SHEET, f"{SCALE_LABEL}; Grad-CAM, last stage", num_columns=3, font_size=LABEL_SIZE
    )
    save_figure(sheet, FIGURES / "misclassified.png")
    if options.bundled:
        return
    run = find_run(options.run)
    images = load_test_images(run, options.data_dir).test
    save_figure(
        draw_receptive_fields(run, to_unit(images.images[:NUM_MEASURED])), FIGURES / "effective_receptive_fields.png"
    )
    with atomic(FIGURES / "resnet9.png") as temporary:
        draw_network(run.network, run.size_px[0]).savefig(temporary, format="png", dpi=150)


if __name__ == "__main__":
    main()
