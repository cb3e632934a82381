"""The target score: the number that a class activation map explains."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from firstlight.arrays import Labels, Logits
from firstlight.errors import UsageError

TargetName = Literal["predicted", "true", "contrast"]


@dataclass(frozen=True, eq=False)
class Target:
    """The score of each image: the logit of one class, or the difference of two logits.

        score[n] = logits[n, classes[n]] - logits[n, against[n]]

    Args:
        classes: Class whose logit counts positively, int64 [n].
        against: Class whose logit is subtracted, int64 [n]; None subtracts nothing.

    >>> import torch
    >>> logits = torch.tensor([[1.0, 5.0, 2.0]])
    >>> Target(torch.tensor([1])).values(logits).tolist()
    [5.0]
    >>> Target(torch.tensor([1]), against=torch.tensor([2])).values(logits).tolist()
    [3.0]
    """

    classes: Labels
    against: Labels | None = None

    def logit_gradients(self, num_classes: int) -> Float[Tensor, "n k"]:
        """Return the gradient of the score with respect to the logits, [n k]: 1 at `classes`, -1 at `against`."""
        gradients = F.one_hot(self.classes, num_classes)
        if self.against is not None:
            gradients = gradients - F.one_hot(self.against, num_classes)
        return gradients.float()

    def values(self, logits: Logits) -> Float[Tensor, " n"]:
        """Return the score of each image, float32 [n]."""
        return (self.logit_gradients(logits.shape[1]) * logits.float()).sum(dim=1)


def choose_target(target: TargetName | Tensor | int, logits: Logits, labels: Labels | None) -> Target:
    """Return the target score that a name or class numbers specify.

    Args:
        target: "predicted", the class with the largest logit; "true", the class of the label; "contrast", the
            predicted class minus the true class; the classes themselves, int64 [n]; or one class for all images.
        logits: Logits of the network, float [n k].
        labels: True classes, int64 [n]; required for "true" and "contrast".

    Raises:
        UsageError: The name is unknown, labels are required and missing, or a class is not a number or does not exist.

    >>> import torch
    >>> contrast = choose_target("contrast", torch.tensor([[1.0, 5.0]]), labels=torch.tensor([0]))
    >>> contrast.classes.tolist(), contrast.against.tolist()
    ([1], [0])
    """
    num_classes = logits.shape[1]
    if isinstance(target, Integral) and not isinstance(target, bool):  # NumPy's integers, too
        target = torch.tensor(int(target))
    if isinstance(target, Tensor):
        classes = target.expand(len(logits)) if target.ndim == 0 else target
        return Target(_checked(classes, logits, "target"))
    predicted = logits.argmax(dim=1)
    if isinstance(target, str) and target == "predicted":
        return Target(predicted)
    if not isinstance(target, str) or target not in ("true", "contrast"):
        raise UsageError(
            f"unknown target {target!r}: give predicted, true, contrast, a class number from 0 to {num_classes - 1}, "
            "or a tensor of class numbers, int64 [n]"
        )
    if labels is None:
        raise UsageError(f"the target {target!r} needs the true labels: give labels as well")
    true = _checked(labels, logits, "labels")
    return Target(true) if target == "true" else Target(predicted, against=true)


def _checked(classes: Tensor, logits: Logits, name: str) -> Labels:
    num_images, num_classes = logits.shape
    if not isinstance(classes, Tensor):
        raise UsageError(f"{name} must be a tensor of class numbers, int64 [n], not {type(classes).__name__}")
    if classes.ndim != 1 or classes.is_floating_point() or classes.is_complex() or classes.dtype == torch.bool:
        kind = str(classes.dtype).removeprefix("torch.")
        raise UsageError(f"{name} must be class numbers, int64 [n], not {kind} {list(classes.shape)}")
    if len(classes) != num_images:
        raise UsageError(f"{name} has {len(classes)} classes for {num_images} images: give one for each")
    if len(classes) and not 0 <= int(classes.min()) <= int(classes.max()) < num_classes:
        raise UsageError(f"{name} must be class numbers from 0 to {num_classes - 1}")
    return classes.to(logits.device, torch.int64)
