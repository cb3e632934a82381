"""Learning curves: loss and accuracy over the epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.ticker import MaxNLocator, PercentFormatter

from firstlight.plots.figure import LABEL_SIZE, TITLE_SIZE, Figure, literal_text

COLOURS = {"train": "#4575b4", "val": "#d73027"}


@literal_text
def learning_curves(columns: Mapping[str, Sequence[float | None]], title: str) -> Figure:
    """Draw the loss and the accuracy on the training and validation images, one point for each epoch.

    Args:
        columns: Values of each epoch by name: `train_loss`, `train_acc`, `val_loss` and `val_acc`. Accuracies are in
            [0, 1]. A missing name has no curve; None stands for an epoch without a value.
        title: Title of the figure.

    >>> len(learning_curves({"train_loss": [2.0, 1.0], "train_acc": [0.2, 0.5]}, "two epochs").axes)
    2
    """
    figure = Figure(figsize=(9, 3.6))
    figure.suptitle(title, fontsize=TITLE_SIZE)
    for axes, (quantity, name) in zip(figure.subplots(1, 2), (("loss", "loss"), ("acc", "accuracy")), strict=True):
        for split, colour in COLOURS.items():
            points = [(i + 1, v) for i, v in enumerate(columns.get(f"{split}_{quantity}", [])) if v is not None]
            if points:
                axes.plot(*zip(*points, strict=True), color=colour, marker=".", label=split)
        axes.set_xlabel("epoch", fontsize=LABEL_SIZE)
        axes.set_ylabel(name, fontsize=LABEL_SIZE)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if quantity == "acc":
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(frameon=False)
    return figure
