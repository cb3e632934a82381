"""Class activation maps of a batch of images from activations and gradients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor, nn

from firstlight.arrays import Labels, Logits, UnitImages
from firstlight.attribution.capture import Stage, capture, find_stages, first_parameter
from firstlight.attribution.closed_form import find_pooled_head
from firstlight.attribution.forward_pass import Precision, Reshape, as_maps, autocast, checked_logits
from firstlight.attribution.fusion import fuse
from firstlight.attribution.methods import METHODS
from firstlight.attribution.target import Target, TargetName, choose_target

_StageTensors = list[tuple[Tensor, Tensor]]  # activations and gradients of each stage


class CamExplainer:
    """Applies a method of `METHODS` to batches of images.

    Args:
        network: Network that takes RGB in [0, 1] and returns logits.
        stages: Stages to explain; the maps of several are fused.
        method: Key of `METHODS`.
        precision: See `explain`.
        reshape: See `explain`.

    Raises:
        UsageError: The network has no such stage.
    """

    def __init__(
        self,
        network: nn.Module,
        stages: tuple[Stage, ...],
        method: str,
        precision: Precision,
        reshape: Reshape | None = None,
    ) -> None:
        self.network, self.precision, self.reshape = network, precision, reshape
        self.method = METHODS[method]
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
            logits = checked_logits(self.network(images))
            activations = as_maps(self.network, self.stages[0], captured.activations[self.stages[0]], self.reshape)
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
            logits = checked_logits(self.network(images))
            activations = {
                stage: as_maps(self.network, stage, captured.activations[stage], self.reshape) for stage in self.stages
            }
            score = choose_target(target, logits, labels)
            gradients = captured.gradients(score.values(logits))
            stage_tensors = [(activations[stage], _reshaped(gradients[stage], self.reshape)) for stage in self.stages]
        return stage_tensors, logits.detach(), score

    def _autocast(self) -> AbstractContextManager[object]:
        return autocast(self.precision, self.parameter.device.type)

    @contextmanager
    def _float32_without_graph(self) -> Iterator[None]:
        """Compute in float32 and without a graph, whatever the caller's autocast and grad mode."""
        with torch.no_grad(), torch.autocast(self.parameter.device.type, enabled=False):
            yield


def _reshaped(tensor: Tensor, reshape: Reshape | None) -> Tensor:
    return tensor if reshape is None else reshape(tensor)
