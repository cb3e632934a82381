"""Base class of the explainers: the network, its stages, and the fusion of the stages' maps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor, nn

from firstlight.arrays import Labels, Logits, UnitImages
from firstlight.attribution.capture import Stage, find_stages, first_parameter
from firstlight.attribution.forward_pass import Precision, Reshape, as_maps, autocast
from firstlight.attribution.fusion import fuse
from firstlight.attribution.target import Target, TargetName


class Explainer(ABC):
    """Applies one method to batches of images.

    Args:
        network: Network that takes RGB in [0, 1] and returns logits.
        stages: Stages to explain; the maps of several are fused.
        method: Name of the method.
        precision: See `explain`.
        reshape: See `explain`.

    Raises:
        UsageError: The network has no such stage, or the method does not take `reshape`.
    """

    def __init__(
        self,
        network: nn.Module,
        stages: tuple[Stage, ...],
        method: str,  # noqa: ARG002  # for the subclasses
        precision: Precision,
        reshape: Reshape | None = None,
    ) -> None:
        self.network, self.precision, self.reshape = network, precision, reshape
        self.stages = list(find_stages(network, stages))
        self.parameter = first_parameter(network)

    def explain(
        self, images: UnitImages, target: TargetName | Tensor | int, labels: Labels | None
    ) -> tuple[Tensor, Logits, Target]:
        """Return the maps, float32 [n h w], the logits and the score that the maps explain."""
        # Convolutions are faster in channels_last, also on the CPU.
        images = images.to(self.parameter.device, self.parameter.dtype, memory_format=torch.channels_last)
        maps, logits, score = self._stage_maps(images, target, labels)
        with self._float32_without_graph():
            fused = maps[0] if len(maps) == 1 else fuse(maps, (images.shape[2], images.shape[3]))
        return fused, logits, score

    @abstractmethod
    def _stage_maps(
        self, images: UnitImages, target: TargetName | Tensor | int, labels: Labels | None
    ) -> tuple[list[Tensor], Logits, Target]:
        """Return the maps of each stage, float32 [n h w], the logits and the score that the maps explain."""

    def _autocast(self) -> AbstractContextManager[object]:
        return autocast(self.precision, self.parameter.device.type)

    def _as_maps(self, stage: str, output: Tensor) -> Tensor:
        return as_maps(self.network, stage, output, self.reshape)

    @contextmanager
    def _float32_without_graph(self) -> Iterator[None]:
        """Compute in float32 and without a graph inside the block; the caller's autocast and grad mode do not count."""
        with torch.no_grad(), torch.autocast(self.parameter.device.type, enabled=False):
            yield
