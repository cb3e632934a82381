"""Find classes whose attribution maps peak at one position, which suggests a shortcut such as a watermark."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from firstlight.arrays import Labels
from firstlight.evaluation.slices import benjamini_hochberg, hypergeometric_tail

GRID = 4  # rows and columns of cells into which an image is divided
NO_PEAK = -1


@dataclass(frozen=True)
class PeakConcentration:
    """How often the maps of a class peak in one cell, compared with the maps of the other classes.

    Args:
        label: Class.
        cell: Number of the cell, row by row.
        num_images: Number of maps of the class.
        num_peaks: Number of these that peak in the cell.
        share_elsewhere: Share of the other classes' maps that peak in the cell, in [0, 1].
        p_value: Probability of at least as many peaks if the class had no effect (Fisher's exact test, one-sided).
        q_value: Smallest false discovery rate at which this is a discovery, over all classes and cells.
    """

    label: int
    cell: int
    num_images: int
    num_peaks: int
    share_elsewhere: float
    p_value: float
    q_value: float = 1.0

    @property
    def share(self) -> float:
        """Share of the class's maps that peak in the cell, in [0, 1]."""
        return self.num_peaks / self.num_images


def peak_cells(maps: Float[Tensor, "n h w"], grid: int = GRID) -> Int64[Tensor, " n"]:
    """Return the cell of each map that holds the most positive evidence, or -1 for a map without any, int64 [n].

    A map is divided into `grid` x `grid` cells, or into its own positions if it has fewer.

    Args:
        maps: CAMs, signed, float [n h w].
        grid: Number of rows and columns of cells.

    >>> maps = torch.zeros(2, 8, 8)
    >>> maps[0, 7, 7] = 1
    >>> peak_cells(maps).tolist()
    [15, -1]
    """
    cells = F.adaptive_avg_pool2d(maps.clamp(min=0), grid_size(maps, grid)).flatten(1)
    values, indices = cells.max(dim=1)
    return torch.where(values > 0, indices, NO_PEAK)


def grid_size(maps: Float[Tensor, "n h w"], grid: int = GRID) -> tuple[int, int]:
    """Return the rows and columns of cells into which `peak_cells` divides maps."""
    return min(grid, maps.shape[1]), min(grid, maps.shape[2])


def peak_concentrations(
    cells: Int64[Tensor, " n"], labels: Labels, num_classes: int, num_cells: int
) -> list[PeakConcentration]:
    """Return each class's most frequent cell if the other classes' share in it is smaller; the largest share first.

    Args:
        cells: Cell of each map's peak, from `peak_cells`.
        labels: Class that each map explains, int64 [n].
        num_classes: Number of classes.
        num_cells: Number of cells.

    >>> found = peak_concentrations(torch.tensor([3, 3, 0, 1]), torch.tensor([0, 0, 1, 1]), 2, 4)
    >>> found[0].label, found[0].cell, found[0].share, found[0].share_elsewhere
    (0, 3, 1.0, 0.0)
    """
    known = cells != NO_PEAK
    cells, labels = cells[known], labels[known]
    counts = torch.bincount(labels * num_cells + cells, minlength=num_classes * num_cells).view(num_classes, num_cells)
    sizes, totals = counts.sum(dim=1).tolist(), counts.sum(dim=0).tolist()
    tested = [
        PeakConcentration(
            label,
            cell,
            sizes[label],
            count,
            (totals[cell] - count) / max(1, len(cells) - sizes[label]),
            hypergeometric_tail(len(cells), totals[cell], sizes[label], count),
        )
        for label, row in enumerate(counts.tolist())
        for cell, count in enumerate(row)
        if sizes[label]
    ]
    q_values = benjamini_hochberg([each.p_value for each in tested])
    tested = [replace(each, q_value=q_value) for each, q_value in zip(tested, q_values, strict=True)]
    largest = {each.label: each for each in sorted(tested, key=lambda each: each.share)}
    return sorted(
        (each for each in largest.values() if each.share > each.share_elsewhere),
        key=lambda each: each.share,
        reverse=True,
    )
