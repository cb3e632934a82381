"""Can a map be trusted: one row of numbers for every method at every stage, and for noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from firstlight.arrays import Labels, Masks, UnitImages
from firstlight.attribution.capture import capture, first_parameter, stage_names
from firstlight.attribution.explain import ALL_STAGES, explain
from firstlight.attribution.fusion import fuse
from firstlight.attribution.maps import upsample
from firstlight.attribution.methods import METHODS
from firstlight.attribution.overlap import energy_inside, pointing_game
from firstlight.attribution.perturbation import (
    DEFAULT_NUM_STEPS,
    area_under,
    blurred,
    deletion,
    insertion,
    mean_colour,
    random_maps,
)
from firstlight.attribution.randomization import rank_correlation, weight_randomization
from firstlight.layers.normalize import Normalize

RANDOM = "random"  # stands in the method's place in the rows that the methods have to beat
Replacement = Literal["mean", "blur"]


@dataclass(frozen=True)
class Faithfulness:
    """What the checks say of one method at one stage: means over the images.

    Args:
        method: a key of `METHODS`, or "random".
        stage: whose activations were weighted; "all" for the fused map.
        deletion: area under the deletion curve, in [0, 1]; small is good.
        insertion: area under the insertion curve, in [0, 1]; large is good.
        energy_inside: share of positive evidence on the object; large is good. None without masks.
        pointing: share of images whose peak is on the object; large is good. None without masks.
        randomization: size of the rank correlation with the maps of randomized networks, averaged over the cascade; as
            small as between two maps of noise, which is what the row "random" shows, is good. The size, as
            a map that only changes its sign with random weights does not depend on what was learnt.
    """

    method: str
    stage: str
    deletion: float
    insertion: float
    energy_inside: float | None
    pointing: float | None
    randomization: float


def evaluate(
    network: nn.Module,
    images: UnitImages,
    *,
    masks: Masks | None = None,
    methods: Sequence[str] = tuple(METHODS),
    stages: Sequence[str] | None = None,
    replacement: Replacement = "mean",
    num_steps: int = DEFAULT_NUM_STEPS,
    seed: int = 0,
) -> list[Faithfulness]:
    """Check every method at every stage, each map for the predicted class, beside noise of equal coarseness.

    An image costs about two forward passes for each step, method and stage.

    Args:
        network: takes RGB in [0, 1], returns logits.
        images: float [n 3 h w].
        masks: which pixels show the object, bool [n h w]; without them two columns are None.
        methods: keys of `METHODS`.
        stages: names or paths; by default every named stage and their fusion, "all".
        replacement: what deleted pixels turn into: "mean", the network's training mean (else the image's own),
            or "blur", the image blurred.
        num_steps: points of the curves.
        seed: of the noise and of the random weights.

    Returns:
        By stage, a row for each method and one for noise.

    Raises:
        UsageError: there is no such method or stage.

    >>> import torch
    >>> from firstlight.networks import ResNet9, ResNet9Config
    >>> network = ResNet9(10, ResNet9Config(width=1))
    >>> rows = evaluate(network, torch.rand(2, 3, 16, 16), methods=["hires_cam"], stages=["layer3"], num_steps=2)
    >>> [(row.method, row.stage) for row in rows]
    [('hires_cam', 'layer3'), ('random', 'layer3')]
    """
    stages = (*stage_names(network), ALL_STAGES) if stages is None else stages
    classes = explain(network, images, stage=stages[0]).classes
    checks = _Checks(network, images, classes, masks, _replaced(network, images, replacement), num_steps)
    rows = []
    for stage in stages:
        for method in methods:
            maps = explain(network, images, method=method, stage=stage, target=classes).maps
            correlations = weight_randomization(network, images, classes, method=method, stage=stage, seed=seed)
            rows.append(checks.row(method, stage, maps, correlations))
        noise, more_noise = (_noise(network, images, stage, each) for each in (seed, seed + 1))
        rows.append(checks.row(RANDOM, stage, noise, rank_correlation(noise, more_noise)))
    return rows


@dataclass(frozen=True, eq=False)
class _Checks:
    """What all rows have in common."""

    network: nn.Module
    images: UnitImages
    classes: Labels
    masks: Masks | None
    replacement: UnitImages
    num_steps: int

    def row(self, method: str, stage: str, maps: Float[Tensor, "n rows columns"], correlations: Tensor) -> Faithfulness:
        full = upsample(maps, (self.images.shape[2], self.images.shape[3]))
        setting = (self.network, self.images, full, self.classes, self.replacement)
        deleted, inserted = deletion(*setting, num_steps=self.num_steps), insertion(*setting, num_steps=self.num_steps)
        masks = None if self.masks is None else self.masks.to(full.device)
        return Faithfulness(
            method=method,
            stage=stage,
            deletion=float(area_under(deleted).mean()),
            insertion=float(area_under(inserted).mean()),
            energy_inside=None if masks is None else float(energy_inside(full, masks).mean()),
            pointing=None if masks is None else float(pointing_game(full, masks).float().mean()),
            randomization=float(correlations.abs().mean()),
        )


def _noise(network: nn.Module, images: UnitImages, stage: str, seed: int) -> Float[Tensor, "n rows columns"]:
    """Noise as coarse as the stage's maps; for the fused map, noise of every stage, fused likewise."""
    names = stage_names(network) if stage == ALL_STAGES else (stage,)
    like = first_parameter(network)
    with capture(network, names, with_gradients=False) as captured:
        network(images[:1].to(like.device, like.dtype))
        sizes = [(each.shape[2], each.shape[3]) for each in captured.activations.values()]
    noise = [random_maps(len(images), size, 1000 * seed + number) for number, size in enumerate(sizes)]
    return noise[0] if len(noise) == 1 else fuse(noise, (images.shape[2], images.shape[3]))


def _replaced(network: nn.Module, images: UnitImages, replacement: Replacement) -> UnitImages:
    if replacement == "blur":
        return blurred(images)
    normalize = getattr(network, "normalize", None)
    return mean_colour(images, normalize.mean.flatten() if isinstance(normalize, Normalize) else None)
