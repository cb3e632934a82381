"""Attribution maps computed from a network's outputs for perturbed images."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from firstlight.arrays import Labels, Logits, UnitImages
from firstlight.attribution.capture import Stage, find_stages, first_parameter, frozen_in_evaluation
from firstlight.attribution.forward_pass import Precision, Reshape, as_maps, autocast, checked_logits
from firstlight.attribution.fusion import fuse
from firstlight.attribution.network_queries import NetworkQueries
from firstlight.attribution.perturbing_methods import PERTURBING_METHODS, PIXELS
from firstlight.attribution.target import Target, TargetName, choose_target
from firstlight.errors import UsageError


class PerturbingExplainer:
    """Applies a method of `PERTURBING_METHODS` to batches of images; see `CamExplainer`."""

    def __init__(
        self,
        network: nn.Module,
        stages: tuple[Stage, ...],
        method: str,
        precision: Precision,
        reshape: Reshape | None = None,
    ) -> None:
        self.network, self.precision, self.reshape = network, precision, reshape
        self.method = PERTURBING_METHODS[method]
        self.stages = [PIXELS] if self.method.explains_pixels else list(find_stages(network, stages))
        self.parameter = first_parameter(network)
        if reshape is not None and self.method.replaces_activations:
            raise UsageError(f"{method} cannot take reshape: it puts changed activations back into the network")

    def explain(
        self, images: UnitImages, target: TargetName | Tensor | int, labels: Labels | None
    ) -> tuple[Tensor, Logits, Target]:
        """Return the maps, float32 [n h w], the logits and the score that the maps explain."""
        images = images.to(self.parameter.device, self.parameter.dtype, memory_format=torch.channels_last)
        cast = partial(autocast, self.precision, self.parameter.device.type)
        with torch.inference_mode(), frozen_in_evaluation(self.network), cast():
            logits = checked_logits(self.network(images)).clone()
        score = choose_target(target, logits, labels)
        queries = NetworkQueries(
            self.network, images, score, cast, lambda stage, output: as_maps(self.network, stage, output, self.reshape)
        )
        maps = [self.method.make_maps(queries, stage).float() for stage in self.stages]
        fused = maps[0] if len(maps) == 1 else fuse(maps, (images.shape[2], images.shape[3]))
        return fused, logits, score
