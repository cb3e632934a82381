"""Self-distillation: targets softened by what the network itself said of an image before."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from firstlight.arrays import Ids, Labels, Logits
from firstlight.data.images import ImageSet
from firstlight.data.last_means import LastMeans


class SelfDistillation:
    """Targets between the label and the network's own answer in the last epoch in which it saw the image.

    With y the smoothed label, z the mean of an image's logits over its visits in that epoch, and the share a:

        target = (1 - a) y + a softmax(z)

    What the classes of a hard image have in common is then learnt, too, and a wrong label counts less. It costs next to
    nothing, since the answers are known from training. An image that was never seen has its label alone. (Kim et al.
    2021, "Self-knowledge distillation with progressive refinement of targets", arXiv 2006.12000; the share grows there,
    and is constant here, for short trainings.)

    Args:
        images: of the training set.
        share: a, 0 to 1.
        label_smoothing: share of the label that is spread over all classes.

    >>> images = ImageSet(torch.zeros(2, 3, 1, 1, dtype=torch.uint8), torch.tensor([0, 1]), ("cat", "dog"))
    >>> distillation = SelfDistillation(images, share=0.5)
    >>> distillation.add(torch.tensor([0]), torch.tensor([[0.0, 0.0]]))
    >>> distillation.begin_epoch(1)
    >>> distillation.targets(images.ids, images.labels).tolist()
    [[0.75, 0.25], [0.0, 1.0]]
    """

    def __init__(self, images: ImageSet, share: float, label_smoothing: float = 0.0) -> None:
        self.share = share
        self.label_smoothing = label_smoothing
        self.num_classes = len(images.class_names)
        self.epoch = 0
        self._logits = LastMeans(int(images.ids.max()) + 1, (self.num_classes,))

    def begin_epoch(self, epoch: int) -> None:
        """Let what was added in another epoch count; every process calls this when its epoch begins, or later."""
        if epoch != self.epoch:
            self._logits.end_epoch()
            self.epoch = epoch

    def targets(self, ids: Ids, labels: Labels) -> Float[Tensor, "n k"]:
        """Return a distribution over the classes for each image."""
        smoothed = F.one_hot(labels, self.num_classes) * (1 - self.label_smoothing)
        smoothed = smoothed + self.label_smoothing / self.num_classes
        said = self._logits.means.to(labels.device)[ids]
        softened = (1 - self.share) * smoothed + self.share * said.softmax(dim=1)
        return torch.where(said.isfinite(), softened, smoothed)

    def add(self, ids: Ids, logits: Logits) -> None:
        """Remember what the network said of the images of a batch."""
        self._logits.add(ids, logits)

    def state_dict(self) -> dict[str, Any]:
        """All that is remembered."""
        return {"epoch": self.epoch, "logits": self._logits.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.epoch = int(state["epoch"])
        self._logits.load_state_dict(state["logits"])
