"""Check the batches of a user's own loader, and name what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from firstlight.compiled import uncompiled
from firstlight.data.batches import Batch
from firstlight.errors import UsageError
from firstlight.layers.normalize import Normalize

_EXPECTED = "a batch must start with images, float [n 3 h w], and class numbers, int64 [n]"


def images_and_labels(batch: Any, network: nn.Module) -> tuple[Tensor, Tensor]:
    """Return the images and the labels of a batch; labels of other integer types become int64.

    Args:
        batch: firstlight's `Batch`, which is returned unchecked, or any sequence that starts with images and labels.
        network: Network that classifies the images. On a GPU, labels are not compared with its number of classes,
            because reading them would make every step wait for the device.

    Raises:
        UsageError: The batch is of another kind.
    """
    if isinstance(batch, Batch):
        return batch.images, batch.labels
    if isinstance(batch, Mapping):
        keys = ", ".join(str(key) for key in batch)
        raise UsageError(f"{_EXPECTED}, not a dictionary with {keys}: return a pair from your data set")
    if not isinstance(batch, Sequence) or len(batch) < 2:
        raise UsageError(f"{_EXPECTED}, but this one has no labels: return a pair from your data set")
    images, labels = batch[0], batch[1]
    if not isinstance(images, Tensor) or not isinstance(labels, Tensor):
        kinds = f"{type(images).__name__} and {type(labels).__name__}"
        raise UsageError(f"{_EXPECTED}, not {kinds}: convert images with torchvision's to_tensor, for instance")
    if labels.ndim != 1 or labels.is_floating_point():
        advice = ", so pass labels.argmax(dim=1)" if labels.ndim == 2 else ""
        kind = str(labels.dtype).removeprefix("torch.")
        raise UsageError(f"labels are {kind} {list(labels.shape)}, not class numbers, int64 [n]{advice}")
    if len(labels) != len(images):
        raise UsageError(f"a batch has {len(images)} images and {len(labels)} labels")
    head = getattr(uncompiled(network), "head", None)
    if labels.device.type == "cpu" and isinstance(head, nn.Linear):
        _refuse_unknown_classes(labels, head.out_features)
    return images, labels.to(torch.int64)


def _refuse_unknown_classes(labels: Tensor, num_classes: int) -> None:
    """Raise UsageError if a label stands for no class of the network."""
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or highest >= num_classes:
        raise UsageError(
            f"labels go from {lowest} to {highest}, but the network has {num_classes} classes, 0 to {num_classes - 1}: "
            + (f"build it with num_classes={highest + 1} or more" if lowest >= 0 else "begin your labels at 0")
        )


def check_range(images: Tensor, network: nn.Module) -> None:
    """Warn if training images are not in [0, 1]; in eval mode, the network's normalization checks them itself."""
    normalize = getattr(uncompiled(network), "normalize", None)
    if isinstance(normalize, Normalize):
        normalize.check_range(images)
