"""`explain`: class activation maps of a network for a batch of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from firstlight.arrays import Labels, Logits, UnitImages
from firstlight.attribution.cam_explainer import CamExplainer
from firstlight.attribution.capture import Stage, find_stages, listed_stages, stage_names
from firstlight.attribution.forward_pass import Precision, Reshape
from firstlight.attribution.maps import has_positive_evidence, upsample
from firstlight.attribution.methods import METHODS, check_method
from firstlight.attribution.perturbing_explainer import PerturbingExplainer
from firstlight.attribution.perturbing_methods import PIXELS, explains_pixels
from firstlight.attribution.target import TargetName
from firstlight.errors import UsageError
from firstlight.layers.input_range import refuse_integers

DEFAULT_METHOD = "grad_cam"
DEFAULT_BATCH_SIZE = 64  # larger batches are no faster on a CPU, because their activations exceed the cache
ALL_STAGES = "all"  # the stage name of the fused map


@dataclass(frozen=True, eq=False)
class Attribution:
    """Class activation maps of some images, signed and not normalized.

    Args:
        maps: CAMs, signed, float32 [n h w], on the CPU. They are in units of the score; the fused map of all stages
            is in units of each stage's largest absolute value. Methods that explain pixels give one value per pixel.
        logits: Logits of the network, float32 [n k].
        classes: Class for which positive values of each map are evidence, int64 [n].
        against: Class that is subtracted in a contrast, int64 [n]; None for other targets.
        method: Name of the method, a key of `METHODS` or `PERTURBING_METHODS`.
        stage: Name of the stage whose activations were weighted; "all" for the fused map, "pixels" for a method that
            explains pixels.
        size_px: Height and width of the images in pixels.
    """

    maps: Float[Tensor, "n h w"]
    logits: Logits
    classes: Labels
    against: Labels | None
    method: str
    stage: str
    size_px: tuple[int, int]

    def __len__(self) -> int:
        return len(self.maps)

    def upsampled(self, size_px: tuple[int, int] | None = None) -> Float[Tensor, "n height width"]:
        """Return the maps, enlarged bilinearly to the size of the images or to another size (height, width)."""
        return upsample(self.maps, size_px or self.size_px)

    @property
    def has_positive_evidence(self) -> Bool[Tensor, " n"]:
        """Whether each map has a positive value beyond rounding, bool [n]; plots mark those that have none."""
        return has_positive_evidence(self.maps)


def explain(
    network: nn.Module,
    images: UnitImages | Float[Tensor, "3 h w"],
    *,
    method: str = DEFAULT_METHOD,
    stage: Stage | None = None,
    reshape: Reshape | None = None,
    target: TargetName | Tensor | int = "predicted",
    labels: Labels | None = None,
    batch_size: int = DEFAULT_BATCH_SIZE,
    precision: Precision = "as_is",
) -> Attribution:
    """Compute a class activation map for each image.

    The network runs in eval mode, and its state is restored afterwards. If only pooling and a linear layer follow the
    stage, the gradients are computed without a backward pass (see `closed_form`); the result is the same.

    Args:
        network: Network that takes RGB in [0, 1] and returns logits.
        images: RGB in [0, 1], float [n 3 h w], or one image [3 h w], on any device.
        method: "grad_cam", "grad_cam_pp", "hires_cam", "layer_cam", "xgrad_cam" or "eigen_cam"; or one that runs the
            network many times, "score_cam" or "ablation_cam" (a pass for each channel), or "integrated_gradients",
            "smooth_grad", "occlusion" or "rise", which explain pixels.
        stage: Name from `network.stages`, path of a submodule, submodule, or "all" for the fused map of all named
            stages. None means the last named stage.
        reshape: Function from the stage's output to maps, float [n c h w], for a stage that returns tokens [n t c]. It
            is applied to the output and to its gradient, so it may only move or drop values, for instance
            `lambda tokens: tokens[:, 1:].transpose(1, 2).unflatten(2, (8, 8))` for a class token and 8x8 patches.
        target: Score that the maps explain: "predicted", the logit of the predicted class; "true", the logit of the
            true class; "contrast", the first minus the second; or the logits of given classes, int64 [n], or of one
            class for all images.
        labels: True classes, int64 [n]; required for "true" and "contrast".
        batch_size: Number of images in a forward pass.
        precision: "as_is" runs the network in its own dtype and in the caller's autocast; "bf16" runs it in bfloat16
            with autocast. The maps are computed in float32 in both cases.

    Returns:
        One signed map for each image.

    Raises:
        UsageError: There is no such method, stage, class or target; labels are required and missing; the images are
            not a batch; or the stage does not return maps.

    >>> from firstlight.networks import ResNet9, ResNet9Config
    >>> attribution = explain(ResNet9(10, ResNet9Config(width=1)), torch.rand(2, 3, 32, 32))
    >>> attribution.stage, attribution.maps.shape, attribution.upsampled().shape
    ('residual3', torch.Size([2, 4, 4]), torch.Size([2, 32, 32]))
    """
    _check_arguments(images, batch_size, precision)
    check_method(method)
    names, stage_name = _choose_stages(network, stage, method)
    make_explainer = CamExplainer if method in METHODS else PerturbingExplainer
    explainer = make_explainer(network, names, method, precision, reshape)
    images = _as_batch(images)
    batches = []
    for start in range(0, max(len(images), 1), batch_size):
        rows = slice(start, start + batch_size)
        batch_target = target[rows] if isinstance(target, Tensor) and target.ndim else target
        batch_labels = None if labels is None else labels[rows]
        maps, logits, score = explainer.explain(images[rows], batch_target, batch_labels)
        against = score.classes if score.against is None else score.against
        batches.append([tensor.cpu() for tensor in (maps, logits.float(), score.classes, against)])
    maps, logits, classes, against = (torch.cat(tensors) for tensors in zip(*batches, strict=True))
    size_px = (images.shape[2], images.shape[3])
    return Attribution(maps, logits, classes, against if _is_contrast(target) else None, method, stage_name, size_px)


def _check_arguments(images: Tensor, batch_size: int, precision: str) -> None:
    """Raise UsageError for images that are no float tensor, or for other values that cannot work."""
    if not isinstance(images, Tensor):
        raise UsageError(f"images must be a tensor, float [n 3 h w], not {type(images).__name__}")
    refuse_integers(images)
    if batch_size < 1:
        raise UsageError(f"batch_size must be 1 or more, not {batch_size}")
    if precision not in get_args(Precision):
        raise UsageError(f"no precision is called {precision!r}: choose one of {', '.join(get_args(Precision))}")


def _as_batch(images: Tensor) -> UnitImages:
    if images.ndim not in (3, 4):
        raise UsageError(f"images must be [n 3 h w], or one image [3 h w], not {list(images.shape)}")
    return images if images.ndim == 4 else images[None]


def _is_contrast(target: TargetName | Tensor | int) -> bool:
    return isinstance(target, str) and target == "contrast"


def _choose_stages(network: nn.Module, stage: Stage | None, method: str) -> tuple[tuple[Stage, ...], str]:
    """Return the stages to explain, and the stage name of the result."""
    if explains_pixels(method):
        if stage not in (None, PIXELS):
            raise UsageError(f"{method} explains pixels and has no stage: leave the stage out")
        return (), PIXELS
    named = stage_names(network)
    if stage is None or stage == ALL_STAGES:
        if not named:
            if stage_names(getattr(network, "network", network)):
                raise UsageError(f"{type(network).__name__} holds its network: explain its attribute `network`")
            raise UsageError(
                "this network has no `stages`: give the path of a module inside it as the stage, "
                f"{listed_stages(network)}"
            )
        return (named[-1:], named[-1]) if stage is None else (named, ALL_STAGES)
    return (stage,), next(iter(find_stages(network, [stage])))
