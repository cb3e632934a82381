"""Misclassified images with the maps of their predicted and their true class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, UInt8

from firstlight.attribution import DEFAULT_METHOD, explain
from firstlight.data.batches import to_unit
from firstlight.data.images import ImageSet
from firstlight.errors import UsageError
from firstlight.evaluation.mistakes import Mistake, MistakeFilter, MistakeOrder
from firstlight.evaluation.predictions import Predictions
from firstlight.networks import StagedNetwork
from firstlight.plots.figure import Figure
from firstlight.plots.mistake_sheet import class_caption, image_caption, mistake_sheet

ORDER_TEXTS: dict[MistakeOrder, str] = {
    "confidence": "most confident first",
    "margin": "largest margin first",
    "loss": "largest loss first",
    "index": "by index",
}


@dataclass(frozen=True, eq=False)
class ExplainedMistake:
    """A mistake with its pixels, its class names and its two evidence maps.

    Args:
        mistake: Classes, probabilities and loss.
        pixels: Image, uint8 [3 h w].
        predicted_name: Name of the predicted class.
        true_name: Name of the true class.
        maps: Evidence for the predicted and for the true class, raw and signed, float [h w] each; None if no map was
            requested.
    """

    mistake: Mistake
    pixels: UInt8[np.ndarray, "3 h w"]
    predicted_name: str
    true_name: str
    maps: tuple[Float[np.ndarray, "h w"], Float[np.ndarray, "h w"]] | None = None


def explain_mistakes(
    network: StagedNetwork,
    images: ImageSet,
    mistakes: Sequence[Mistake],
    method: str | None = DEFAULT_METHOD,
    stage: str | None = None,
) -> list[ExplainedMistake]:
    """Add pixels, class names and evidence maps to mistakes.

    Args:
        network: Network that made the predictions.
        images: Images in the order of the predictions.
        mistakes: Mistakes to explain.
        method: Attribution method, see `firstlight.attribution.explain`; None for no maps.
        stage: Stage to explain; None for the last.

    Raises:
        UsageError: No method or stage has that name.
    """
    chosen, names = images[torch.tensor([mistake.row for mistake in mistakes], dtype=torch.int64)], images.class_names
    explained = [
        ExplainedMistake(mistake, pixels, names[mistake.predicted], names[mistake.true])
        for mistake, pixels in zip(_named(mistakes, chosen), chosen.images.numpy(), strict=True)
    ]
    if method is None:
        return explained
    predicted_maps, true_maps = (
        explain(network, to_unit(chosen.images), method=method, stage=stage, target=torch.tensor(labels).long())
        .upsampled()
        .numpy()
        for labels in ([mistake.predicted for mistake in mistakes], [mistake.true for mistake in mistakes])
    )
    return [
        replace(item, maps=maps)
        for item, maps in zip(explained, zip(predicted_maps, true_maps, strict=True), strict=True)
    ]


def _named(mistakes: Sequence[Mistake], images: ImageSet) -> list[Mistake]:
    """Return the mistakes with the file names of their images; predictions of older versions have none."""
    names = images.file_names or [mistake.file_name for mistake in mistakes]
    return [replace(mistake, file_name=name) for mistake, name in zip(mistakes, names, strict=True)]


def misclassified_images(
    network: StagedNetwork,
    images: ImageSet,
    predictions: Predictions,
    which: MistakeFilter = MistakeFilter(),
    method: str = DEFAULT_METHOD,
    stage: str | None = None,
) -> Figure:
    """Draw misclassified images beside the maps for their predicted and for their true class.

    Args:
        network: Network that made the predictions.
        images: Test set, in the order of the predictions.
        predictions: Predictions for these images.
        which: Filter that chooses and sorts the mistakes.
        method: Attribution method; see `firstlight.attribution.explain`.
        stage: Stage to explain; None for the last.

    Raises:
        UsageError: The filter's classes have no mistake between them, or a class, an index, a method or a stage does
            not exist.
    """
    mistakes = which.select(predictions, images.class_names)
    if not mistakes and (which.true or which.predicted):
        conditions = [f"is {which.true}"] * bool(which.true) + [f"is taken for {which.predicted}"] * bool(
            which.predicted
        )
        raise UsageError(f"nothing to show: no misclassified test image {' and '.join(conditions)}")
    explained = explain_mistakes(network, images, mistakes, method, stage)
    return mistake_sheet(
        [item.pixels for item in explained],
        [item.maps for item in explained if item.maps is not None],
        [_captions(item) for item in explained],
        _title(images, predictions, which),
        f"{method}, stage {stage or network.stages[-1]}",
    )


def _captions(item: ExplainedMistake) -> tuple[str, str, str]:
    mistake = item.mistake
    return (
        image_caption(mistake.name),
        class_caption("says", item.predicted_name, mistake.predicted_probability),
        class_caption("is", item.true_name, mistake.true_probability),
    )


def _title(images: ImageSet, predictions: Predictions, which: MistakeFilter) -> str:
    if which.indices:
        return f"{images.name}: chosen images"
    num_wrong = len(predictions.misclassified())
    title = f"{images.name}: {num_wrong:,} of {len(predictions):,} misclassified, {ORDER_TEXTS[which.order]}"
    classes = [f"is {which.true}"] * bool(which.true) + [f"says {which.predicted}"] * bool(which.predicted)
    return title + (f" ({', '.join(classes)})" if classes else "")
