"""The target score: what a map is evidence for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from firstlight.arrays import Labels, Logits
from firstlight.errors import UsageError

TargetName = Literal["predicted", "true", "contrast"]


@dataclass(frozen=True, eq=False)
class Target:
    """The score of each image: a class's logit, or by how much it exceeds another's.

        score[n] = logits[n, classes[n]] - logits[n, against[n]]

    Args:
        classes: the class that the map speaks for, int64 [n].
        against: the class that it speaks against, int64 [n]; None for a plain logit.

    >>> import torch
    >>> logits = torch.tensor([[1.0, 5.0, 2.0]])
    >>> Target(torch.tensor([1])).score(logits).tolist()
    [5.0]
    >>> Target(torch.tensor([1]), against=torch.tensor([2])).score(logits).tolist()
    [3.0]
    """

    classes: Labels
    against: Labels | None = None

    def direction(self, num_classes: int) -> Float[Tensor, "n k"]:
        """Return the score's gradient by the logits: 1 at `classes`, -1 at `against`, float32 [n k]."""
        direction = F.one_hot(self.classes, num_classes)
        if self.against is not None:
            direction = direction - F.one_hot(self.against, num_classes)
        return direction.float()

    def score(self, logits: Logits) -> Float[Tensor, " n"]:
        """Return the score of each image, float32 [n]."""
        return (self.direction(logits.shape[1]) * logits.float()).sum(dim=1)


def choose_target(target: TargetName | Labels, logits: Logits, labels: Labels | None) -> Target:
    """Turn what the caller asks for into classes.

    Args:
        target: "predicted" is the class with the largest logit; "true" the label's; "contrast" the
            predicted over the true; class numbers, int64 [n], are taken as they are.
        logits: float [n k].
        labels: true classes, int64 [n]; needed for "true" and "contrast".

    Raises:
        UsageError: the name is none of these, labels are needed and missing, or a class does not exist.

    >>> import torch
    >>> contrast = choose_target("contrast", torch.tensor([[1.0, 5.0]]), labels=torch.tensor([0]))
    >>> contrast.classes.tolist(), contrast.against.tolist()
    ([1], [0])
    """
    num_classes = logits.shape[1]
    if isinstance(target, Tensor):
        return Target(_checked(target, logits, "target"))
    predicted = logits.argmax(dim=1)
    if target == "predicted":
        return Target(predicted)
    if target not in ("true", "contrast"):
        raise UsageError(f"unknown target {target!r}: give predicted, true, contrast or one of {num_classes} classes")
    if labels is None:
        raise UsageError(f"the target {target!r} needs the true labels: give labels as well")
    true = _checked(labels, logits, "labels")
    return Target(true) if target == "true" else Target(predicted, against=true)


def _checked(classes: Labels, logits: Logits, name: str) -> Labels:
    num_images, num_classes = logits.shape
    if len(classes) != num_images:
        raise UsageError(f"{name} has {len(classes)} classes for {num_images} images: give one for each")
    if len(classes) and not 0 <= int(classes.min()) <= int(classes.max()) < num_classes:
        raise UsageError(f"{name} must be class numbers from 0 to {num_classes - 1}")
    return classes.to(logits.device)
