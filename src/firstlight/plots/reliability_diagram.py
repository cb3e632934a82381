"""Reliability diagram: accuracy against confidence."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int64
from matplotlib.ticker import PercentFormatter

from firstlight.plots.figure import LABEL_SIZE, SMALL_SIZE, TITLE_SIZE, Figure, literal_text

BAR, GAP, INK = "#4575b4", "#d73027", "#444444"


@literal_text
def reliability_figure(
    accuracy: Float[np.ndarray, " bins"],
    confidence: Float[np.ndarray, " bins"],
    counts: Int64[np.ndarray, " bins"],
    title: str,
) -> Figure:
    """Draw the accuracy of each bin of confidence, and below it the number of images in the bin.

    A red line joins the accuracy of a bin to its mean confidence. Where the bar ends below the diagonal, the network
    is overconfident. Guo et al. 2017, arXiv 1706.04599, figure 1.

    Args:
        accuracy: Share of correctly classified images in each bin of equal width, float [bins]; NaN in an empty bin.
        confidence: Mean probability of the predicted class in each bin, float [bins]; NaN in an empty bin.
        counts: Number of images in each bin, int64 [bins].
        title: Title of the figure.

    >>> bins = np.array([np.nan, 0.5]), np.array([np.nan, 0.75]), np.array([0, 2])
    >>> reliability_figure(*bins, "two images").axes[0].get_ylabel()
    'accuracy'
    """
    edges = np.linspace(0, 1, len(counts) + 1)
    centres, width = (edges[:-1] + edges[1:]) / 2, 1 / len(counts)
    figure = Figure(figsize=(5.2, 5.6))
    figure.suptitle(title, fontsize=TITLE_SIZE)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    upper.bar(centres, np.nan_to_num(accuracy), width * 0.92, color=BAR, label="accuracy in the bin")
    upper.plot([0, 1], [0, 1], color=INK, linestyle="--", linewidth=1, label="perfect calibration")
    upper.vlines(confidence, accuracy, confidence, color=GAP, linewidth=2, label="difference to the mean confidence")
    upper.set_ylim(0, 1)
    upper.set_xlim(0, 1)
    upper.set_ylabel("accuracy", fontsize=LABEL_SIZE)
    upper.legend(frameon=False, fontsize=SMALL_SIZE, loc="lower left", bbox_to_anchor=(0, 1))  # above all bars
    lower.bar(centres, counts, width * 0.92, color="#b0b0b0")
    lower.set_ylabel("images", fontsize=LABEL_SIZE)
    lower.set_xlabel("confidence: probability of the predicted class", fontsize=LABEL_SIZE)
    for axes in (upper, lower):
        axes.tick_params(labelsize=SMALL_SIZE)
        axes.spines[["top", "right"]].set_visible(False)
    upper.yaxis.set_major_formatter(PercentFormatter(1.0))
    lower.xaxis.set_major_formatter(PercentFormatter(1.0))
    return figure
