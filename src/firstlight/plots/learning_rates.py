"""The curve of a learning-rate range test."""

from __future__ import annotations

from collections.abc import Sequence

from firstlight.plots.figure import LABEL_SIZE, TITLE_SIZE, Figure, literal_text


@literal_text
def learning_rate_curve(
    learning_rates: Sequence[float], losses: Sequence[float], suggestion: float, of_recipe: float, title: str
) -> Figure:
    """Draw the training loss over the learning rate, with the suggestion and the learning rate of the recipe.

    Args:
        learning_rates: Learning rate of each step.
        losses: Training loss of each step.
        suggestion: Suggested learning rate.
        of_recipe: Learning rate of the recipe.
        title: Title of the figure.

    >>> len(learning_rate_curve([0.001, 0.01, 0.1], [2.0, 1.0, 3.0], 0.01, 0.02, "three steps").axes[0].lines)
    3
    """
    figure = Figure(figsize=(7, 4))
    axes = figure.subplots()
    axes.set_title(title, fontsize=TITLE_SIZE)
    axes.plot(learning_rates, losses, color="#4575b4")
    axes.axvline(suggestion, color="#d73027", label=f"suggestion: {suggestion:.2g}")
    axes.axvline(of_recipe, color="#636363", linestyle="--", label=f"the recipe: {of_recipe:.2g}")
    axes.set_xscale("log")
    axes.set_xlabel("learning rate", fontsize=LABEL_SIZE)
    axes.set_ylabel("training loss, smoothed", fontsize=LABEL_SIZE)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure
