"""Measure validation accuracy and forward passes of test-time views, by kind of view and by margin.

The runs must have validation images that they were not trained on; the test split is not used. An image gets further
views while its two largest probabilities differ by at most the margin (`firstlight.evaluation.tta_views`).

    python benchmarks/views.py RUN [RUN ...] --data_dir DATA_DIR
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import torch
from torch import Tensor

from firstlight.data.batches import to_unit
from firstlight.evaluation.tta_views import Views, averaged_logits, expected_passes, logits_of, margins
from firstlight.runs.run import load
from firstlight.training.data_module import ImageData
from record import command_line, record, spread

BATCH_SIZE = 1000
KINDS: list[tuple[Views, float]] = [
    ("single", 1.0),
    ("flip", 1.0),
    ("flip_shift", 1.0),
    ("flip_shift", 0.5),
    ("flip_star", 0.8),
    ("flip_star", 0.6),
    ("flip_star", 0.5),
    ("flip_star", 0.4),
]
MARGINS = (0.2, 0.4, 0.6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--data_dir", default="data")
    options = parser.parse_args()
    accuracies: dict[tuple[Views, float], list[float]] = {kind: [] for kind in KINDS}
    passes: dict[tuple[Views, float], list[float]] = {kind: [] for kind in KINDS}
    within: dict[float, list[float]] = {margin: [] for margin in MARGINS}
    for path in options.runs:
        run = load(path)
        data = ImageData(run.recipe, options.data_dir)
        data.setup("validate")
        images, labels = data.val.images, data.val.labels
        num_passes = 0

        def network(batch: Tensor, trained: torch.nn.Module = run.network) -> Tensor:
            nonlocal num_passes
            num_passes += len(batch)
            return trained(batch)

        single = logits_of(run.network, images)
        for margin in MARGINS:
            within[margin].append(float((margins(single) <= margin).double().mean()))
        for views, margin in KINDS:
            num_passes = len(images)
            with torch.inference_mode():
                logits = torch.cat(
                    [
                        averaged_logits(network, to_unit(batch), views, known, margin)
                        for batch, known in zip(images.split(BATCH_SIZE), single.split(BATCH_SIZE), strict=True)
                    ]
                )
            accuracies[views, margin].append(float((logits.argmax(dim=1) == labels).double().mean()))
            passes[views, margin].append(num_passes / len(images))
            print(f"{path}  {views:<10} {margin}  {accuracies[views, margin][-1]:.2%}", flush=True)
    six = accuracies["flip_shift", 0.5]
    rows = [
        {
            "views": views,
            "margin": margin,
            "passes": statistics.fmean(passes[views, margin]),
            "passes_expected": expected_passes(views, margin),
            "accuracy": spread(accuracies[views, margin]),
            "over_six": spread([mine - other for mine, other in zip(accuracies[views, margin], six, strict=True)]),
        }
        for views, margin in KINDS
    ]
    results = {
        "what": "validation accuracy by the mean of several views, and forward passes an image",
        "num_images": len(labels),
        "recipe": run.recipe.to_dict(),
        "share_within_margin": {str(margin): spread(shares) for margin, shares in within.items()},
        "rows": rows,
    }
    print(record("views", command_line(), results))


if __name__ == "__main__":
    main()
