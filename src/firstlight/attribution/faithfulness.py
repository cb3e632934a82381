"""Faithfulness metrics of every method at every stage, and of noise for comparison."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from firstlight.arrays import Labels, Masks, UnitImages
from firstlight.attribution.capture import capture, first_parameter, stage_names
from firstlight.attribution.explain import ALL_STAGES, explain
from firstlight.attribution.fusion import fuse
from firstlight.attribution.maps import upsample
from firstlight.attribution.methods import METHODS, check_method
from firstlight.attribution.network_queries import covered_images
from firstlight.attribution.overlap import energy_inside, pointing_game
from firstlight.attribution.perturbation import (
    DEFAULT_NUM_STEPS,
    area_under,
    blurred,
    deletion,
    insertion,
    random_maps,
)
from firstlight.attribution.perturbing_methods import PIXELS, explains_pixels
from firstlight.attribution.randomization import rank_correlation, weight_randomization

RANDOM = "random"  # method name of the rows for noise, the baseline
Replacement = Literal["mean", "blur"]


@dataclass(frozen=True)
class Faithfulness:
    """Faithfulness metrics of one method at one stage, averaged over the images.

    Args:
        method: Name of the method, or "random" for noise.
        stage: Stage whose activations were weighted; "all" for the fused map, "pixels" for a method that explains
            pixels.
        deletion: Area under the deletion curve, in [0, 1]; small is good.
        insertion: Area under the insertion curve, in [0, 1]; large is good.
        energy_inside: Share of the positive evidence that lies on the object, in [0, 1]; large is good. None without
            masks.
        pointing: Share of images whose largest value lies on the object, in [0, 1]; large is good. None without masks.
        randomization: Absolute rank correlation with the maps of randomized networks, averaged over the cascade, in
            [0, 1]; small is good. The row "random" has the rank correlation of two independent maps of noise. The
            absolute value is taken, because a map that only changes its sign does not depend on the learned weights
            either.
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
    on_row: Callable[[int, int], None] | None = None,
) -> list[Faithfulness]:
    """Measure the faithfulness of every method at every stage, and of noise at the same resolution.

    All maps explain the predicted class. Each image costs about two forward passes for each step, method and stage.
    Methods that explain pixels have no stage: they are measured once, with noise at the resolution of the image for
    comparison. All maps are computed again for each step of the weight randomization, which is slow for methods of
    `PERTURBING_METHODS`.

    Args:
        network: Network that takes RGB in [0, 1] and returns logits.
        images: RGB in [0, 1], float [n 3 h w].
        masks: Pixels that show the object, bool [n h w]; None omits `energy_inside` and `pointing`.
        methods: Names of the methods.
        stages: Names or paths of the stages; None means every named stage and "all", the fused map.
        replacement: Values of deleted pixels: "mean" is the mean of the training set if the network has a `Normalize`
            layer, else the mean of the image; "blur" is the blurred image.
        num_steps: Number of steps of the deletion and insertion curves.
        seed: Seed of the noise and of the random weights.
        on_row: Called before the first row and after each row with the number of rows done and of all rows.

    Returns:
        For each stage in turn, a row for each method and one for noise.

    Raises:
        UsageError: There is no such method or stage.

    >>> import torch
    >>> from firstlight.networks import ResNet9, ResNet9Config
    >>> network = ResNet9(10, ResNet9Config(width=1))
    >>> rows = evaluate(network, torch.rand(2, 3, 16, 16), methods=["hires_cam"], stages=["layer3"], num_steps=2)
    >>> [(row.method, row.stage) for row in rows]
    [('hires_cam', 'layer3'), ('random', 'layer3')]
    """
    stages = (*stage_names(network), ALL_STAGES) if stages is None else stages
    for method in methods:
        check_method(method)
    classes = explain(network, images, stage=stages[0]).classes
    metrics = _Metrics(network, images, classes, masks, _replacement_images(network, images, replacement), num_steps)
    groups = _groups(stages, methods)
    total = sum(len(methods_of_stage) + 1 for _, methods_of_stage in groups)
    rows: list[Faithfulness] = []

    def add(row: Faithfulness) -> None:
        rows.append(row)
        if on_row is not None:
            on_row(len(rows), total)

    if on_row is not None:
        on_row(0, total)
    for stage, methods_of_stage in groups:
        for method in methods_of_stage:
            maps = explain(network, images, method=method, stage=stage, target=classes).maps
            correlations = weight_randomization(network, images, classes, method=method, stage=stage, seed=seed)
            add(metrics.row(method, stage, maps, correlations))
        noise, second_noise = (_noise(network, images, stage, noise_seed) for noise_seed in (seed, seed + 1))
        add(metrics.row(RANDOM, stage, noise, rank_correlation(noise, second_noise)))
    return rows


@dataclass(frozen=True, eq=False)
class _Metrics:
    """The network, images and settings that all rows share."""

    network: nn.Module
    images: UnitImages
    classes: Labels
    masks: Masks | None
    replacement: UnitImages
    num_steps: int

    def row(self, method: str, stage: str, maps: Float[Tensor, "n rows columns"], correlations: Tensor) -> Faithfulness:
        enlarged = upsample(maps, (self.images.shape[2], self.images.shape[3]))
        inputs = (self.network, self.images, enlarged, self.classes, self.replacement)
        deleted, inserted = (curve(*inputs, num_steps=self.num_steps) for curve in (deletion, insertion))
        masks = None if self.masks is None else self.masks.to(enlarged.device)
        return Faithfulness(
            method=method,
            stage=stage,
            deletion=float(area_under(deleted).mean()),
            insertion=float(area_under(inserted).mean()),
            energy_inside=None if masks is None else float(energy_inside(enlarged, masks).mean()),
            pointing=None if masks is None else float(pointing_game(enlarged, masks).float().mean()),
            randomization=float(correlations.abs().mean()),
        )


def _groups(stages: Sequence[str], methods: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Return the methods of each stage; methods that explain pixels form the last group."""
    of_pixels = [method for method in methods if explains_pixels(method)]
    of_stages = [method for method in methods if not explains_pixels(method)]
    groups = [(stage, of_stages) for stage in stages] if of_stages else []
    return groups + ([(PIXELS, of_pixels)] if of_pixels else [])


def _noise(network: nn.Module, images: UnitImages, stage: str, seed: int) -> Float[Tensor, "n rows columns"]:
    """Return noise at the resolution of the stage's maps; for "all", noise at every stage's resolution, fused."""
    if stage == PIXELS:
        return random_maps(len(images), (images.shape[2], images.shape[3]), 1000 * seed)
    names = stage_names(network) if stage == ALL_STAGES else (stage,)
    parameter = first_parameter(network)
    with capture(network, names, with_gradients=False) as captured:
        network(images[:1].to(parameter.device, parameter.dtype))
        sizes = [(maps.shape[2], maps.shape[3]) for maps in captured.activations.values()]
    noise = [random_maps(len(images), size, 1000 * seed + number) for number, size in enumerate(sizes)]
    return noise[0] if len(noise) == 1 else fuse(noise, (images.shape[2], images.shape[3]))


def _replacement_images(network: nn.Module, images: UnitImages, replacement: Replacement) -> UnitImages:
    return blurred(images) if replacement == "blur" else covered_images(network, images)
