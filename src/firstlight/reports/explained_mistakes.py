"""Misclassified images with two maps: for the predicted class, and for the true class or another target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8

from firstlight.arrays import Labels
from firstlight.attribution import DEFAULT_METHOD, explain, explains_pixels, upsample
from firstlight.attribution.perturbing_methods import PIXELS
from firstlight.attribution.target import TargetName
from firstlight.data.batches import to_unit
from firstlight.data.images import ImageSet
from firstlight.errors import UsageError
from firstlight.evaluation.mistakes import Mistake, MistakeFilter, MistakeOrder
from firstlight.evaluation.predictions import Predictions
from firstlight.networks import StagedNetwork
from firstlight.plots.figure import Figure
from firstlight.plots.mistake_sheet import class_caption, image_caption, mistake_sheet
from firstlight.plots.overlay import SCALE_LABEL, has_evidence

TRUE, CONTRAST = "true", "contrast"  # values of the second target; any other value is the name of a class
NO_EVIDENCE_NOTE = (
    "no positive evidence: no part of the image raises the score of this class;\n"
    "`firstlight explain --target contrast` shows why the network prefers the predicted class"
)
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
        maps: Evidence for the predicted class and for the second target, raw and signed, at the resolution of the
            stage, float [rows columns] each; None if no map was requested.
        second_caption: Caption of the second map.
    """

    mistake: Mistake
    pixels: UInt8[np.ndarray, "3 h w"]
    predicted_name: str
    true_name: str
    maps: tuple[Float[np.ndarray, "rows columns"], Float[np.ndarray, "rows columns"]] | None = None
    second_caption: str = ""

    def upsampled(self) -> tuple[Float[np.ndarray, "h w"], Float[np.ndarray, "h w"]]:
        """Return both maps, enlarged to the size of the image."""
        assert self.maps is not None
        height, width = self.pixels.shape[1:]
        first, second = upsample(torch.from_numpy(np.stack(self.maps)), (height, width)).numpy()
        return first, second


def explain_mistakes(
    network: StagedNetwork,
    images: ImageSet,
    mistakes: Sequence[Mistake],
    method: str | None = DEFAULT_METHOD,
    stage: str | None = None,
    target: str = TRUE,
) -> list[ExplainedMistake]:
    """Add pixels, class names and two maps to mistakes: for the predicted class, and for a second target.

    Args:
        network: Network that made the predictions.
        images: Images in the order of the predictions.
        mistakes: Mistakes to explain.
        method: Attribution method, see `firstlight.attribution.explain`; None for no maps.
        stage: Stage to explain; None for the last.
        target: Second target: "true" for the true class, "contrast" for the predicted class minus the true class, or
            the name of a class.

    Raises:
        UsageError: No method, stage or target has that name.
    """
    chosen, names = images[torch.tensor([mistake.row for mistake in mistakes], dtype=torch.int64)], images.class_names
    explained = [
        ExplainedMistake(mistake, pixels, names[mistake.predicted], names[mistake.true])
        for mistake, pixels in zip(_named(mistakes, chosen), chosen.images.numpy(), strict=True)
    ]
    if method is None:
        return explained
    predicted, true = (
        torch.tensor(labels).long()
        for labels in ([mistake.predicted for mistake in mistakes], [mistake.true for mistake in mistakes])
    )
    targets: tuple[Labels | TargetName, ...] = (predicted, _second_target(target, names, true))
    first_maps, second_maps = (
        explain(network, to_unit(chosen.images), method=method, stage=stage, target=each, labels=true).maps.numpy()
        for each in targets
    )
    return [
        replace(item, maps=maps, second_caption=_second_caption(item, target, names))
        for item, maps in zip(explained, zip(first_maps, second_maps, strict=True), strict=True)
    ]


def _second_target(target: str, names: Sequence[str], true: Labels) -> Labels | TargetName:
    """Return the target for `explain`."""
    if target == TRUE:
        return true
    if target == CONTRAST:
        return "contrast"
    if target not in names:
        raise UsageError(
            f"no class is called {target!r}: the target is {TRUE}, {CONTRAST} or one of {', '.join(names)}"
        )
    return torch.full_like(true, names.index(target))


def _second_caption(item: ExplainedMistake, target: str, names: Sequence[str]) -> str:
    mistake = item.mistake
    if target == TRUE:
        return class_caption("is", item.true_name, mistake.true_probability)
    if target == CONTRAST:
        return class_caption("against", item.true_name, mistake.true_probability)
    return class_caption("for", target, mistake.probabilities[names.index(target)])


def maps_as_json(
    network: StagedNetwork, explained: Sequence[ExplainedMistake], method: str, stage: str | None, target: str
) -> dict[str, Any]:
    """Return explained mistakes as JSON content: raw signed maps at the resolution of the stage, as nested lists.

    Args:
        network: Network that made the predictions.
        explained: Mistakes with maps.
        method: Attribution method.
        stage: Explained stage; None for the last.
        target: Second target.
    """
    images = []
    for item in explained:
        assert item.maps is not None
        mistake = item.mistake
        first, second = (cam.tolist() for cam in item.maps)
        images.append(
            {
                "index": mistake.index,
                "file": mistake.file_name,
                "true": item.true_name,
                "predicted": item.predicted_name,
                "probability": mistake.predicted_probability,
                "true_probability": mistake.true_probability,
                "maps": {"predicted": first, target: second},
            }
        )
    return {"method": method, "stage": _stage_name(network, method, stage), "target": target, "images": images}


def _named(mistakes: Sequence[Mistake], images: ImageSet) -> list[Mistake]:
    """Return the mistakes with the file names of their images, which predictions of older versions lack."""
    names = images.file_names or [mistake.file_name for mistake in mistakes]
    return [replace(mistake, file_name=name) for mistake, name in zip(mistakes, names, strict=True)]


def misclassified_images(
    network: StagedNetwork,
    images: ImageSet,
    predictions: Predictions,
    which: MistakeFilter = MistakeFilter(),
    method: str = DEFAULT_METHOD,
    stage: str | None = None,
    target: str = TRUE,
) -> Figure:
    """Draw misclassified images beside the maps for their predicted class and for a second target.

    Args:
        network: Network that made the predictions.
        images: Test set, in the order of the predictions.
        predictions: Predictions for these images.
        which: Filter that chooses and sorts the mistakes.
        method: Attribution method; see `firstlight.attribution.explain`.
        stage: Stage to explain; None for the last.
        target: Second target; see `explain_mistakes`.

    Raises:
        UsageError: No mistake matches the filter, or a class, an index, a method, a stage or a target does not exist.
    """
    mistakes = which.select(predictions, images.class_names)
    if not mistakes and (which.true or which.predicted):
        conditions = [f"the true class {which.true}"] * bool(which.true)
        conditions += [f"the predicted class {which.predicted}"] * bool(which.predicted)
        raise UsageError(f"nothing to show: no misclassified test image has {' and '.join(conditions)}")
    explained = explain_mistakes(network, images, mistakes, method, stage, target)
    maps = [item.upsampled() for item in explained]
    scale_label = f"{SCALE_LABEL}; {_describe_maps(network, method, stage)}"
    if target != CONTRAST and not all(has_evidence(evidence) for pair in maps for evidence in pair):
        scale_label += f"\n{NO_EVIDENCE_NOTE}"
    return mistake_sheet(
        [item.pixels for item in explained],
        maps,
        [_captions(item) for item in explained],
        _title(images, predictions, which),
        scale_label,
    )


def _captions(item: ExplainedMistake) -> tuple[str, str, str]:
    mistake = item.mistake
    return (
        image_caption(mistake.name),
        class_caption("says", item.predicted_name, mistake.predicted_probability),
        item.second_caption,
    )


def _stage_name(network: StagedNetwork, method: str, stage: str | None) -> str:
    """Return the name of the explained stage, as `Attribution.stage` has it."""
    return PIXELS if explains_pixels(method) else stage or network.stages[-1]


def _describe_maps(network: StagedNetwork, method: str, stage: str | None) -> str:
    name = _stage_name(network, method, stage)
    return f"{method} of the pixels" if name == PIXELS else f"{method}, stage {name}"


def _title(images: ImageSet, predictions: Predictions, which: MistakeFilter) -> str:
    if which.indices:
        return f"{images.name}: chosen images"
    num_wrong = len(predictions.misclassified())
    title = f"{images.name}: {num_wrong:,} of {len(predictions):,} misclassified, {ORDER_TEXTS[which.order]}"
    classes = [f"is {which.true}"] * bool(which.true) + [f"says {which.predicted}"] * bool(which.predicted)
    return title + (f" ({', '.join(classes)})" if classes else "")
