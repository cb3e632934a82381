"""Explain: what a network looked at in each image."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from firstlight.arrays import Labels, Logits, UnitImages
from firstlight.attribution.capture import Stage, capture, find_stages, first_parameter, stage_names
from firstlight.attribution.closed_form import find_tail
from firstlight.attribution.fusion import fuse
from firstlight.attribution.maps import has_positive_evidence, upsample
from firstlight.attribution.methods import find_method
from firstlight.attribution.target import Target, TargetName, choose_target
from firstlight.errors import UsageError

DEFAULT_METHOD = "grad_cam"
DEFAULT_BATCH_SIZE = 64  # larger is no faster on a CPU: activations leave the cache
ALL_STAGES = "all"  # the stage name that asks for the fused map

_Sources = list[tuple[Tensor, Tensor]]  # of each stage, activations and gradients

Precision = Literal["as_is", "bf16"]


@dataclass(frozen=True, eq=False)
class Attribution:
    """Where each image speaks for its class, raw and signed: nothing is normalized.

    Args:
        maps: the cams, signed, in units of the score (for the fused map: of each stage's largest value),
            float32 [n h w], on the CPU.
        logits: what the network said, float32 [n k].
        classes: the class that each map speaks for, int64 [n].
        against: for a contrast, the class that it speaks against, int64 [n]; else None.
        method: a key of `METHODS`.
        stage: whose activations were weighted; "all" for the fused map.
        size_px: height and width of the images.
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
        """Return the maps enlarged bilinearly to the size of the images, or to another."""
        return upsample(self.maps, size_px or self.size_px)

    @property
    def has_positive_evidence(self) -> Bool[Tensor, " n"]:
        """Whether anything in the image speaks for the class, bool [n]; where not, a plot should say so."""
        return has_positive_evidence(self.maps)


def explain(
    network: nn.Module,
    images: UnitImages,
    *,
    method: str = DEFAULT_METHOD,
    stage: Stage | None = None,
    target: TargetName | Labels = "predicted",
    labels: Labels | None = None,
    batch_size: int = DEFAULT_BATCH_SIZE,
    precision: Precision = "as_is",
) -> Attribution:
    """Map where each image speaks for a class.

    The network runs in eval mode and is left as it was found. Where only pooling and a linear head
    follow the stage, no backward pass is needed (`closed_form`); the result is the same.

    Args:
        network: takes RGB in [0, 1], returns logits.
        images: float [n 3 h w], on any device.
        method: "grad_cam", "grad_cam_pp", "hires_cam" or "layer_cam".
        stage: a name from `network.stages`, the path of a module, a module, or "all" for the fusion of
            the named stages; by default the last named stage.
        target: "predicted"; "true"; "contrast", the evidence for the predicted class over the true one (their logits'
            difference); or class numbers, int64 [n].
        labels: true classes, int64 [n]; needed for "true" and "contrast".
        batch_size: images at a time.
        precision: "as_is" runs the network in its own number format and the caller's autocast; "bf16" in
            bfloat16 by autocast. The maps are computed in float32 either way.

    Returns:
        One signed map for each image.

    Raises:
        UsageError: there is no such method, stage, class or target; labels are needed and missing.

    >>> from firstlight.networks import ResNet9, ResNet9Config
    >>> found = explain(ResNet9(10, ResNet9Config(width=1)), torch.rand(2, 3, 32, 32))
    >>> found.stage, found.maps.shape, found.upsampled().shape
    ('residual3', torch.Size([2, 4, 4]), torch.Size([2, 32, 32]))
    """
    names, stage_name = _choose_stages(network, stage)
    explainer = _Explainer(network, names, method, precision)
    parts = []
    for start in range(0, max(len(images), 1), batch_size):
        rows = slice(start, start + batch_size)
        some_target = target[rows] if isinstance(target, Tensor) else target
        some_labels = None if labels is None else labels[rows]
        maps, logits, chosen = explainer.explain(images[rows], some_target, some_labels)
        against = chosen.classes if chosen.against is None else chosen.against
        parts.append([each.cpu() for each in (maps, logits.float(), chosen.classes, against)])
    maps, logits, classes, against = (torch.cat(part) for part in zip(*parts, strict=True))
    size_px = (images.shape[2], images.shape[3])
    return Attribution(maps, logits, classes, against if target == "contrast" else None, method, stage_name, size_px)


class _Explainer:
    """One network, its stages and a method, for batch after batch."""

    def __init__(self, network: nn.Module, stages: tuple[Stage, ...], method: str, precision: Precision) -> None:
        self.network, self.precision = network, precision
        self.method = find_method(method)
        self.stages = list(find_stages(network, stages))
        self.tail = find_tail(network, self.stages[0]) if len(self.stages) == 1 else None
        self.like = first_parameter(network)

    def explain(
        self, images: UnitImages, target: TargetName | Labels, labels: Labels | None
    ) -> tuple[Tensor, Logits, Target]:
        """Return maps float32 [n h w], logits and target."""
        # channels_last is the faster layout for convolutions, on the CPU too
        images = images.to(self.like.device, self.like.dtype, memory_format=torch.channels_last)
        found = self._by_closed_form(images, target, labels) or self._by_autograd(images, target, labels)
        sources, logits, chosen = found
        with self._full_precision():
            maps = [self.method(activations.float(), gradients.float()) for activations, gradients in sources]
            fused = maps[0] if len(maps) == 1 else fuse(maps, (images.shape[2], images.shape[3]))
        return fused, logits, chosen

    def _by_closed_form(
        self, images: UnitImages, target: TargetName | Labels, labels: Labels | None
    ) -> tuple[_Sources, Logits, Target] | None:
        if self.tail is None:
            return None
        with capture(self.network, self.stages, with_gradients=False) as captured, self._number_format():
            logits = self.network(images)
            activations = captured.activations[self.stages[0]]
            if not self.tail.explains(activations, logits):
                self.tail = None  # there is more behind the stage than pool and head: do not try again
                return None
        chosen = choose_target(target, logits, labels)
        with self._full_precision():
            gradients = self.tail.gradients(activations, chosen.direction(logits.shape[1]))
        return [(activations, gradients)], logits, chosen

    def _by_autograd(
        self, images: UnitImages, target: TargetName | Labels, labels: Labels | None
    ) -> tuple[_Sources, Logits, Target]:
        with capture(self.network, self.stages) as captured, self._number_format():
            logits = self.network(images)
            chosen = choose_target(target, logits, labels)
            gradients = captured.gradients(chosen.score(logits))
            sources = [(captured.activations[stage], gradients[stage]) for stage in self.stages]
        return sources, logits.detach(), chosen

    def _number_format(self) -> AbstractContextManager[object]:
        """The number format of the forward pass."""
        if self.precision == "bf16":
            # No cache: weights cast here carry no gradient and must not be found by a training step.
            return torch.autocast(self.like.device.type, torch.bfloat16, cache_enabled=False)
        return nullcontext()

    @contextmanager
    def _full_precision(self) -> Iterator[None]:
        """The maps are float32 without a graph, whatever the caller's autocast and grad mode."""
        with torch.no_grad(), torch.autocast(self.like.device.type, enabled=False):
            yield


def _choose_stages(network: nn.Module, stage: Stage | None) -> tuple[tuple[Stage, ...], str]:
    """Return the stages to explain and what to call them."""
    named = stage_names(network)
    if stage is None or stage == ALL_STAGES:
        if not named:
            raise UsageError("this network names no stages: give the stage, the path of a module inside")
        return (named[-1:], named[-1]) if stage is None else (named, ALL_STAGES)
    return (stage,), next(iter(find_stages(network, [stage])))
