"""Shortcuts: positions on which the predictions of a class depend, found in the maps and confirmed by covering them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from firstlight.arrays import Images, Labels
from firstlight.data.images import ImageSet
from firstlight.evaluation.map_peaks import PeakConcentration, grid_size, peak_cells, peak_concentrations
from firstlight.evaluation.slices import hypergeometric_tail
from firstlight.evaluation.tta_views import logits_of
from firstlight.modes import in_evaluation
from firstlight.networks import StagedNetwork
from firstlight.reports.sampled_maps import SampledMaps

# Thresholds of a candidate: number of images of the class, share of their maps that peak in the cell, ratio of this
# share to that of the other classes, and q-value.
MIN_IMAGES, MIN_SHARE, MIN_RATIO, MAX_Q_VALUE = 10, 0.3, 3.0, 1e-3
MAX_CANDIDATES = 3
MAX_IMAGES = 200  # most images of the class in the experiment that confirms a candidate
# Thresholds that confirm a candidate. The ratio is that of two numbers of changed predictions: if the candidate's cell
# is covered, and if the other cell with the largest number is covered. The p-value is that of their difference.
MIN_EFFECT_RATIO, MAX_P_VALUE = 2.0, 0.01
NUM_EXAMPLES = 5


@dataclass(frozen=True)
class Shortcut:
    """A cell of the image on which the predictions of a class depend, wherever the object is.

    Args:
        peaks: Share of the class's maps that peak in the cell, compared with the other classes.
        rows: Number of rows of cells.
        columns: Number of columns of cells.
        num_of_class: Number of images of the experiment that are predicted as the class.
        changed_of_class: Share of their predictions that change if a cell is covered, for each cell, in [0, 1].
        num_images: Number of all images of the experiment.
        num_changed: Number of their predictions that change if the cell is covered.
        accuracy: Accuracy on the images of the experiment, in [0, 1].
        accuracy_covered: Accuracy with the cell covered, in [0, 1].
        examples: Rows of test images whose maps peak most sharply in the cell.
    """

    peaks: PeakConcentration
    rows: int
    columns: int
    num_of_class: int
    changed_of_class: list[float]
    num_images: int
    num_changed: int
    accuracy: float
    accuracy_covered: float
    examples: list[int]

    @property
    def row(self) -> int:
        """Row of the cell, from the top."""
        return self.peaks.cell // self.columns

    @property
    def column(self) -> int:
        """Column of the cell, from the left."""
        return self.peaks.cell % self.columns

    @property
    def largest_elsewhere(self) -> float:
        """Largest share of the class's predictions that change if another cell is covered."""
        return max(share for cell, share in enumerate(self.changed_of_class) if cell != self.peaks.cell)


def find_shortcuts(network: StagedNetwork, images: ImageSet, sampled: SampledMaps) -> list[Shortcut]:
    """Find cells on which the predictions of a class depend, wherever the object is.

    A candidate is a cell in which at least 30 % of the class's maps peak, at least three times the share of the other
    classes' maps, with a q-value below 0.001. It is confirmed by an experiment: each cell in turn is covered with the
    mean colour of the training images, and covering the candidate must change the predictions of the class at least
    twice as often as covering any other cell does (Fisher's exact test, p below 0.01).

    Args:
        network: Trained network.
        images: Test images.
        sampled: Maps of a sample of these images.

    Returns:
        The confirmed shortcuts, the most frequent peak first.
    """
    rows, columns = grid_size(sampled.maps)
    cells = peak_cells(sampled.maps)
    found = peak_concentrations(cells, sampled.predicted, len(images.class_names), rows * columns)
    candidates = [each for each in found if _is_candidate(each)][:MAX_CANDIDATES] if rows * columns > 1 else []
    shortcuts = []
    for peaks in candidates:
        members = (sampled.predicted == peaks.label).nonzero().flatten()[:MAX_IMAGES]
        changed = _changed(network, images[sampled.rows[members]], (rows, columns), sampled.predicted[members])
        counts = changed.sum(dim=1).tolist()
        if _is_confirmed(counts, peaks.cell, len(members)):
            shortcuts.append(_measure(network, images, sampled, cells, peaks, (rows, columns), counts, len(members)))
    return shortcuts


def _is_candidate(peaks: PeakConcentration) -> bool:
    is_frequent = peaks.share >= MIN_SHARE and peaks.share >= MIN_RATIO * peaks.share_elsewhere
    return is_frequent and peaks.q_value < MAX_Q_VALUE and peaks.num_images >= MIN_IMAGES


def _is_confirmed(counts: list[int], cell: int, num_images: int) -> bool:
    """Return whether covering the cell changes clearly more predictions than covering any other cell."""
    elsewhere = max(count for other, count in enumerate(counts) if other != cell)
    p_value = hypergeometric_tail(2 * num_images, counts[cell] + elsewhere, num_images, counts[cell])
    return counts[cell] >= MIN_EFFECT_RATIO * elsewhere and p_value < MAX_P_VALUE


def _measure(
    network: StagedNetwork,
    images: ImageSet,
    sampled: SampledMaps,
    cells: Int64[Tensor, " n"],
    peaks: PeakConcentration,
    size: tuple[int, int],
    counts: list[int],
    num_of_class: int,
) -> Shortcut:
    """Cover the cell in all sampled images, and collect the numbers."""
    tested, labels = images[sampled.rows], images.labels[sampled.rows]
    covered = _predicted_with_covered_cell(network, tested, peaks.cell, size)
    is_example = (sampled.predicted == peaks.label) & (cells == peaks.cell)
    sharpness = sampled.maps.clamp(min=0).amax(dim=(1, 2)) / sampled.maps.abs().sum(dim=(1, 2)).clamp(min=1e-12)
    order = torch.where(is_example, sharpness, -1.0).argsort(descending=True, stable=True)
    return Shortcut(
        peaks,
        *size,
        num_of_class,
        [count / num_of_class for count in counts],
        len(tested),
        int((covered != sampled.predicted).sum()),
        float((sampled.predicted == labels).float().mean()),
        float((covered == labels).float().mean()),
        sampled.rows[order[: min(NUM_EXAMPLES, int(is_example.sum()))]].tolist(),
    )


def _changed(
    network: StagedNetwork, images: ImageSet, size: tuple[int, int], predicted: Labels
) -> Bool[Tensor, "cells n"]:
    """Return whether covering each cell changes each prediction, bool [cells n]."""
    cells = range(size[0] * size[1])
    return torch.stack([_predicted_with_covered_cell(network, images, cell, size) != predicted for cell in cells])


def _predicted_with_covered_cell(
    network: StagedNetwork, images: ImageSet, cell: int, size: tuple[int, int]
) -> Int64[Tensor, " n"]:
    """Return the predicted classes of images with a cell covered by the mean colour, int64 [n]."""
    position = cell // size[1], cell % size[1]
    covered = cover_cell(images, position, size, network.normalize.mean.flatten())
    with in_evaluation(network):
        return logits_of(network, covered).argmax(dim=1)


def cover_cell(images: ImageSet, cell: tuple[int, int], size: tuple[int, int], colour: Float[Tensor, " 3"]) -> Images:
    """Return the images with one cell of a grid filled with a colour, uint8 [n 3 h w].

    Args:
        images: Images.
        cell: Row and column of the cell.
        size: Number of rows and columns of cells.
        colour: RGB in [0, 1], float [3].
    """
    covered = images.images.clone()
    rows, columns = (
        slice(round(number * length / count), round((number + 1) * length / count))
        for number, length, count in zip(cell, images.size_px, size, strict=True)
    )
    covered[:, :, rows, columns] = (colour * 255).round().to(torch.uint8)[:, None, None]
    return covered
