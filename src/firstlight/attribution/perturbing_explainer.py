"""Attribution maps computed from a network's outputs for perturbed images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from firstlight.arrays import Labels, Logits, UnitImages
from firstlight.attribution.capture import Stage, frozen_in_evaluation
from firstlight.attribution.explainer import Explainer
from firstlight.attribution.forward_pass import Precision, Reshape, checked_logits
from firstlight.attribution.network_queries import NetworkQueries
from firstlight.attribution.perturbing_methods import PERTURBING_METHODS, PIXELS
from firstlight.attribution.target import Target, TargetName, choose_target
from firstlight.errors import UsageError
from firstlight.layers.normalize import without_range_check


class PerturbingExplainer(Explainer):
    """Applies a method of `PERTURBING_METHODS`; see `Explainer` for the arguments."""

    def __init__(
        self,
        network: nn.Module,
        stages: tuple[Stage, ...],
        method: str,
        precision: Precision,
        reshape: Reshape | None = None,
    ) -> None:
        super().__init__(network, stages, method, precision, reshape)
        self.method = PERTURBING_METHODS[method]
        if self.method.explains_pixels:
            self.stages = [PIXELS]
        if reshape is not None and self.method.replaces_activations:
            raise UsageError(f"{method} cannot take reshape: it puts changed activations back into the network")

    def _stage_maps(
        self, images: UnitImages, target: TargetName | Tensor | int, labels: Labels | None
    ) -> tuple[list[Tensor], Logits, Target]:
        with frozen_in_evaluation(self.network):
            with torch.inference_mode(), self._autocast():
                logits = checked_logits(self.network(images)).clone()
            score = choose_target(target, logits, labels)
            queries = NetworkQueries(self.network, images, score, self._autocast, self._as_maps)
            with without_range_check(self.network):  # noise may leave [0, 1]
                maps = [self.method.make_maps(queries, stage).float() for stage in self.stages]
        return maps, logits, score
