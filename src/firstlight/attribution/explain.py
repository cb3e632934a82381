"""`explain`: class activation maps of a network for a batch of images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from firstlight.arrays import Labels, Logits, UnitImages
from firstlight.attribution.capture import Stage, capture, find_stages, first_parameter, listed_stages, stage_names
from firstlight.attribution.closed_form import find_pooled_head
from firstlight.attribution.fusion import fuse
from firstlight.attribution.maps import has_positive_evidence, upsample
from firstlight.attribution.methods import find_method
from firstlight.attribution.target import Target, TargetName, choose_target
from firstlight.errors import UsageError
from firstlight.layers.input_range import refuse_integers

DEFAULT_METHOD = "grad_cam"
DEFAULT_BATCH_SIZE = 64  # larger batches are no faster on a CPU, because their activations exceed the cache
ALL_STAGES = "all"  # the stage name of the fused map

_StageTensors = list[tuple[Tensor, Tensor]]  # activations and gradients of each stage

Precision = Literal["as_is", "bf16"]
Reshape = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Attribution:
    """Class activation maps of some images, signed and not normalized.

    Args:
        maps: CAMs, signed, float32 [n h w], on the CPU. They are in units of the score; the fused map of all stages
            is in units of each stage's largest absolute value.
        logits: Logits of the network, float32 [n k].
        classes: Class for which positive values of each map are evidence, int64 [n].
        against: Class that is subtracted in a contrast, int64 [n]; None for other targets.
        method: Name of the method, a key of `METHODS`.
        stage: Name of the stage whose activations were weighted; "all" for the fused map.
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
        method: "grad_cam", "grad_cam_pp", "hires_cam" or "layer_cam".
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
    refuse_integers(images)
    names, stage_name = _choose_stages(network, stage)
    explainer = _Explainer(network, names, method, precision, reshape)
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


class _Explainer:
    """Applies one method to batches of images: a network, its stages, and whether the closed form applies."""

    def __init__(
        self,
        network: nn.Module,
        stages: tuple[Stage, ...],
        method: str,
        precision: Precision,
        reshape: Reshape | None = None,
    ) -> None:
        self.network, self.precision, self.reshape = network, precision, reshape
        self.method = find_method(method)
        self.stages = list(find_stages(network, stages))
        may_be_pooled = len(self.stages) == 1 and reshape is None
        self.pooled_head = find_pooled_head(network, self.stages[0]) if may_be_pooled else None
        self.parameter = first_parameter(network)

    def explain(
        self, images: UnitImages, target: TargetName | Tensor | int, labels: Labels | None
    ) -> tuple[Tensor, Logits, Target]:
        """Return the maps, float32 [n h w], the logits and the score that the maps explain."""
        # Convolutions are faster in channels_last, also on the CPU.
        images = images.to(self.parameter.device, self.parameter.dtype, memory_format=torch.channels_last)
        result = self._by_closed_form(images, target, labels) or self._by_autograd(images, target, labels)
        stage_tensors, logits, score = result
        with self._float32_without_graph():
            maps = [self.method(activations.float(), gradients.float()) for activations, gradients in stage_tensors]
            fused = maps[0] if len(maps) == 1 else fuse(maps, (images.shape[2], images.shape[3]))
        return fused, logits, score

    def _by_closed_form(
        self, images: UnitImages, target: TargetName | Tensor | int, labels: Labels | None
    ) -> tuple[_StageTensors, Logits, Target] | None:
        if self.pooled_head is None:
            return None
        with capture(self.network, self.stages, with_gradients=False) as captured, self._autocast():
            logits = _checked_logits(self.network(images))
            activations = self._maps_of(self.stages[0], captured.activations[self.stages[0]])
            if not self.pooled_head.reproduces(activations, logits):
                self.pooled_head = None  # other operations follow the stage: use autograd for all further batches
                return None
        score = choose_target(target, logits, labels)
        with self._float32_without_graph():
            gradients = self.pooled_head.gradients(activations, score.logit_gradients(logits.shape[1]))
        return [(activations, gradients)], logits, score

    def _by_autograd(
        self, images: UnitImages, target: TargetName | Tensor | int, labels: Labels | None
    ) -> tuple[_StageTensors, Logits, Target]:
        with capture(self.network, self.stages) as captured, self._autocast():
            logits = _checked_logits(self.network(images))
            activations = {stage: self._maps_of(stage, captured.activations[stage]) for stage in self.stages}
            score = choose_target(target, logits, labels)
            gradients = captured.gradients(score.values(logits))
            stage_tensors = [(activations[stage], self._reshaped(gradients[stage])) for stage in self.stages]
        return stage_tensors, logits.detach(), score

    def _maps_of(self, stage: str, output: Tensor) -> Tensor:
        """Return the output of a stage as maps, float [n c h w].

        Raises:
            UsageError: The output has another number of axes.
        """
        maps = self._reshaped(output)
        if maps.ndim == 4:
            return maps
        shape = list(maps.shape)
        if self.reshape is not None:
            raise UsageError(f"reshape returns {shape} for stage {stage}: it must return maps, [n c h w]")
        if maps.ndim == 3:
            raise UsageError(
                f"stage {stage} returns tokens, {shape}, not maps, [n c h w]: give reshape, a function that turns "
                "tokens into maps, for instance lambda tokens: tokens.transpose(1, 2).unflatten(2, (height, width))"
            )
        raise UsageError(
            f"stage {stage} returns {shape}, not maps, [n c h w]: choose a stage before the pooling. The network has "
            f"{listed_stages(self.network)}."
        )

    def _reshaped(self, tensor: Tensor) -> Tensor:
        return tensor if self.reshape is None else self.reshape(tensor)

    def _autocast(self) -> AbstractContextManager[object]:
        """Return the autocast context of the forward pass."""
        if self.precision == "bf16":
            # Without the cache, because a training step must not reuse weights that were cast here without a gradient.
            return torch.autocast(self.parameter.device.type, torch.bfloat16, cache_enabled=False)
        return nullcontext()

    @contextmanager
    def _float32_without_graph(self) -> Iterator[None]:
        """Compute in float32 and without a graph, whatever the caller's autocast and grad mode."""
        with torch.no_grad(), torch.autocast(self.parameter.device.type, enabled=False):
            yield


def _as_batch(images: Tensor) -> UnitImages:
    if images.ndim not in (3, 4):
        raise UsageError(f"images must be [n 3 h w], or one image [3 h w], not {list(images.shape)}")
    return images if images.ndim == 4 else images[None]


def _checked_logits(output: Any) -> Logits:
    if not isinstance(output, Tensor) or output.ndim != 2:
        found = list(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise UsageError(f"the network returns {found}, not logits [n k]: wrap it in a module that returns logits")
    return output


def _is_contrast(target: TargetName | Tensor | int) -> bool:
    return isinstance(target, str) and target == "contrast"


def _choose_stages(network: nn.Module, stage: Stage | None) -> tuple[tuple[Stage, ...], str]:
    """Return the stages to explain, and the stage name of the result."""
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
