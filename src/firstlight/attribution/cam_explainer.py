"""Class activation maps of a batch of images from activations and gradients."""

from __future__ import annotations

from torch import Tensor, nn

from firstlight.arrays import Labels, Logits, UnitImages
from firstlight.attribution.capture import Stage, capture
from firstlight.attribution.closed_form import find_pooled_head
from firstlight.attribution.explainer import Explainer
from firstlight.attribution.forward_pass import Precision, Reshape, checked_logits
from firstlight.attribution.methods import METHODS
from firstlight.attribution.target import Target, TargetName, choose_target

_StageTensors = list[tuple[Tensor, Tensor]]  # activations and gradients of each stage


class CamExplainer(Explainer):
    """Applies a method of `METHODS`; see `Explainer` for the arguments."""

    def __init__(
        self,
        network: nn.Module,
        stages: tuple[Stage, ...],
        method: str,
        precision: Precision,
        reshape: Reshape | None = None,
    ) -> None:
        super().__init__(network, stages, method, precision, reshape)
        self.method = METHODS[method]
        may_be_pooled = len(self.stages) == 1 and reshape is None
        self.pooled_head = find_pooled_head(network, self.stages[0]) if may_be_pooled else None

    def _stage_maps(
        self, images: UnitImages, target: TargetName | Tensor | int, labels: Labels | None
    ) -> tuple[list[Tensor], Logits, Target]:
        result = self._by_closed_form(images, target, labels) or self._by_autograd(images, target, labels)
        stage_tensors, logits, score = result
        with self._float32_without_graph():
            maps = [self.method(activations.float(), gradients.float()) for activations, gradients in stage_tensors]
        return maps, logits, score

    def _by_closed_form(
        self, images: UnitImages, target: TargetName | Tensor | int, labels: Labels | None
    ) -> tuple[_StageTensors, Logits, Target] | None:
        if self.pooled_head is None:
            return None
        with capture(self.network, self.stages, with_gradients=False) as captured, self._autocast():
            logits = checked_logits(self.network(images))
            activations = self._as_maps(self.stages[0], captured.activations_of(self.stages[0]))
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
            activations = {stage: self._as_maps(stage, captured.activations_of(stage)) for stage in self.stages}
            score = choose_target(target, logits, labels)
            gradients = captured.gradients(score.values(logits))
            stage_tensors = [(activations[stage], _reshaped(gradients[stage], self.reshape)) for stage in self.stages]
        return stage_tensors, logits.detach(), score


def _reshaped(tensor: Tensor, reshape: Reshape | None) -> Tensor:
    return tensor if reshape is None else reshape(tensor)
