"""The near copies that the audit finds in CIFAR-10 itself, and what they do to the accuracy of the bundled network.

    python benchmarks/natural_copies.py --data_dir DATA_DIR

The results file is `natural_copies.json`. The figure `docs/figures/audit_copies.png` shows pairs of a training and a
test image, at equal distances in the order of their similarity: the first pair is the most similar one.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import torch
from jaxtyping import Int64
from torch import Tensor

from firstlight.data.images import ImageSet
from firstlight.data.source import open_source
from firstlight.export.bundle import bundled
from firstlight.plots.figure import LABEL_SIZE, Figure, save_figure, show_pixels
from firstlight.reports.copy_audit import CopyGroup, find_copies, find_leak
from record import command_line, record

FIGURE = Path(__file__).parent.parent / "docs" / "figures" / "audit_copies.png"
NUM_PAIRS = 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", type=Path, default=Path("data"))
    options = parser.parse_args()
    source = open_source("cifar10", options.data_dir)
    splits = {"train": source.train(), "test": source.test()}
    groups, is_complete = find_copies(splits)
    leak = find_leak(groups, splits["test"], bundled_predictions(splits["test"]))
    numbers = asdict(leak)
    record(
        "natural_copies",
        command_line(),
        {
            "num_groups": len(groups),
            "num_images_in_groups": sum(len(group.members) for group in groups),
            "groups_by_size": dict(sorted(Counter(len(group.members) for group in groups).items())),
            "num_contradicting": sum(group.contradicts for group in groups),
            "num_exact": sum(group.is_exact for group in groups),
            "num_in_train_and_test": sum(group.crosses_splits for group in groups),
            "num_leaked_test_images": len(numbers.pop("rows")),
            "is_complete": is_complete,
        }
        | numbers,
    )
    save_figure(draw_pairs(groups, splits), FIGURE)


def bundled_predictions(test: ImageSet) -> Int64[Tensor, " n"]:
    """Return the class that the bundled network predicts for each test image, from its stored mistakes."""
    predictions = bundled().mistakes.predictions
    predicted = test.labels.clone()
    predicted[predictions.ids] = predictions.predicted
    return predicted


def draw_pairs(groups: list[CopyGroup], splits: dict[str, ImageSet]) -> Figure:
    """Draw pairs of one training and one test image, from the most to the least similar."""
    pairs = [group for group in groups if group.crosses_splits and len(group.members) == 2]
    pairs.sort(key=lambda group: -group.similarity)
    chosen = [pairs[index] for index in torch.linspace(0, len(pairs) - 1, NUM_PAIRS).round().long().tolist()]
    figure = Figure(figsize=(8.4, 3.6))
    for axes_of_pair, group in zip(figure.subplots(2, NUM_PAIRS).T, chosen, strict=True):
        for axes, member in zip(axes_of_pair, group.members, strict=True):
            images = splits[member.split]
            show_pixels(axes, images.images[member.row].numpy())
            axes.set_title(f"{images.class_names[member.label]}\n{member.split} {member.row}", fontsize=LABEL_SIZE)
        axes_of_pair[1].set_xlabel(f"similarity {group.similarity:.3f}", fontsize=LABEL_SIZE)
    return figure


if __name__ == "__main__":
    main()
