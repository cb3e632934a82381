"""Choose the images of a run's HTML report, and collect their data and attribution maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from firstlight.attribution import Attribution, explain
from firstlight.data.batches import to_unit
from firstlight.data.images import ImageSet
from firstlight.errors import UsageError
from firstlight.evaluation.mistakes import Mistake, mistakes_at
from firstlight.evaluation.predictions import Predictions
from firstlight.networks import StagedNetwork
from firstlight.reports.html.rendering import encode_map, image_uri

MAX_MISTAKES = 1000
MAX_CORRECT, MAX_CORRECT_OF_CLASS = 400, 24  # correctly classified images of all classes, and of one class
NUM_TOP = 3  # most probable classes listed for an image
LARGEST_INT8 = 127
MAX_MAP_SIDE = 16  # rows and columns of a map on the page; finer maps are averaged to keep the file small


@dataclass(frozen=True)
class Gallery:
    """Images of a report with their maps.

    Args:
        entries: Data of each image for the page's script: numbers, file name, image as a data URI, maps in base64.
        map_size: Rows and columns of the maps.
        stage: Name of the explained stage.
        num_mistakes: Number of mistakes among the entries, which come first.
    """

    entries: list[dict[str, Any]]
    map_size: tuple[int, int]
    stage: str
    num_mistakes: int


def make_gallery(
    network: StagedNetwork,
    images: ImageSet,
    predictions: Predictions,
    method: str,
    stage: str | None,
    max_mistakes: int = MAX_MISTAKES,
) -> Gallery:
    """Choose images for a report and compute their maps.

    Mistakes have three maps: for the predicted class, for the true class, and for their contrast (see
    `firstlight.attribution.explain`). Correctly classified images have the map of their class.

    Args:
        network: Network that made the predictions.
        images: Test images, in the order of the predictions.
        predictions: Predictions for these images.
        method: Attribution method.
        stage: Stage to explain; None for the last.
        max_mistakes: Largest number of mistakes; the most confident are chosen.

    Raises:
        UsageError: No method or stage has that name, or `max_mistakes` is below 1.
    """
    if max_mistakes < 1:
        raise UsageError(f"max_mistakes must be 1 or more, not {max_mistakes}")
    wrong = predictions.misclassified()[:max_mistakes]
    right = choose_correct_rows(predictions, len(images.class_names))
    rows = torch.cat([wrong, right])
    predicted_maps = _coarse(explain(network, to_unit(images[rows].images), method=method, stage=stage))
    wrong_maps = [
        _coarse(
            explain(
                network,
                to_unit(images[wrong].images),
                method=method,
                stage=stage,
                target=target,
                labels=images.labels[wrong],
            )
        )
        for target in ("true", "contrast")
    ]
    entries = []
    for position, mistake in enumerate(mistakes_at(predictions, rows)):
        maps = {"predicted": _evidence(predicted_maps, position)}
        if position < len(wrong):
            maps["true"] = _evidence(wrong_maps[0], position)
            maps["contrast"] = encode_map(_to_int8(wrong_maps[1].maps[position]))
        file_name = None if images.file_names is None else images.file_names[mistake.row]
        picture = {"file": file_name, "image": image_uri(images.image_at(mistake.row).numpy()), "maps": maps}
        entries.append(_entry(mistake) | picture)
    height, width = predicted_maps.maps.shape[1:]
    return Gallery(entries, (height, width), predicted_maps.stage, len(wrong))


def choose_correct_rows(predictions: Predictions, num_classes: int) -> Int64[Tensor, " m"]:
    """Choose the most and the least confident of the correctly classified images of each class.

    Args:
        predictions: Predictions for the test images.
        num_classes: Number of classes; the more classes, the fewer images of each.

    Returns:
        Rows of the images, class by class, int64 [m].

    >>> logits, labels = torch.tensor([[3.0, 0], [2.0, 0], [1.0, 0]]), torch.tensor([0, 0, 0])
    >>> choose_correct_rows(Predictions(logits, torch.zeros(3, 1), labels, torch.arange(3)), 300).tolist()
    [0, 2]
    """
    half = max_correct_of_class(num_classes) // 2
    confidence = predictions.probabilities().amax(dim=1)
    chosen = []
    for label in range(num_classes):
        members = ((predictions.predicted == label) & (predictions.labels == label)).nonzero().flatten()
        members = members[confidence[members].argsort(descending=True, stable=True)]
        chosen.append(members if len(members) <= 2 * half else torch.cat([members[:half], members[-half:]]))
    return torch.cat(chosen) if chosen else torch.zeros(0, dtype=torch.int64)


def _entry(mistake: Mistake) -> dict[str, Any]:
    top = sorted(range(len(mistake.probabilities)), key=lambda label: -mistake.probabilities[label])[:NUM_TOP]
    return {
        "index": mistake.index,
        "true": mistake.true,
        "predicted": mistake.predicted,
        "confidence": _short(mistake.predicted_probability),
        "true_probability": _short(mistake.true_probability),
        "loss": _short(mistake.loss),
        "margin": _short(mistake.margin),
        "top": [[label, _short(mistake.probabilities[label])] for label in top],
    }


def _evidence(attribution: Attribution, position: int) -> str | None:
    """Return an encoded map, or None if it has no positive evidence."""
    has_evidence = bool(attribution.has_positive_evidence[position])
    return encode_map(_to_int8(attribution.maps[position])) if has_evidence else None


def _coarse(attribution: Attribution) -> Attribution:
    """Return maps of at most 16x16 positions; finer maps are averaged."""
    height, width = attribution.maps.shape[1:]
    if max(height, width) <= MAX_MAP_SIDE:
        return attribution
    size = (min(height, MAX_MAP_SIDE), min(width, MAX_MAP_SIDE))
    return replace(attribution, maps=functional.adaptive_avg_pool2d(attribution.maps, size))


def _to_int8(cam: Float[Tensor, "h w"]) -> Any:
    """Divide a map by its largest absolute value and round it to 255 levels, int8 [h w]."""
    largest = cam.abs().max().clamp(min=torch.finfo(cam.dtype).tiny)
    return (cam / largest * LARGEST_INT8).round().to(torch.int8).numpy()


def _short(value: float) -> float:
    return round(value, 5)


def max_correct_of_class(num_classes: int) -> int:
    """Return the largest number of correctly classified images of a class in a report."""
    return 2 * max(1, min(MAX_CORRECT_OF_CLASS, MAX_CORRECT // num_classes) // 2)


def examples_of_classes(entries: Sequence[dict[str, Any]], num_classes: int) -> list[dict[str, int]]:
    """Return for each class the positions of up to three example entries: two correct images and one mistake.

    Args:
        entries: Entries of a gallery.
        num_classes: Number of classes.

    Returns:
        For each class a dictionary with the keys `most_confident_right`, `least_confident_right` and `largest_loss`
        (the mistake with the largest loss). A key is missing if the class has no such image.
    """
    examples: list[dict[str, int]] = [{} for _ in range(num_classes)]
    for label, found in enumerate(examples):
        members = [position for position, entry in enumerate(entries) if entry["true"] == label]
        right = [position for position in members if entries[position]["predicted"] == label]
        wrong = [position for position in members if entries[position]["predicted"] != label]
        if right:
            found["most_confident_right"] = max(right, key=lambda position: entries[position]["confidence"])
            found["least_confident_right"] = min(right, key=lambda position: entries[position]["confidence"])
        if wrong:
            found["largest_loss"] = max(wrong, key=lambda position: entries[position]["loss"])
    return examples
