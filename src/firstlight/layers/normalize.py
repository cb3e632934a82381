"""Normalization as part of the network, so that every consumer feeds plain RGB in [0, 1]."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from firstlight.layers.input_range import is_checkable, refuse_integers, refuse_other_shapes, warn_of_range
from firstlight.native.dispatch import is_eager_on_cpu

CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_STD = (0.2470, 0.2435, 0.2616)


class Normalize(nn.Module):
    """`(x - mean) / std` for each colour channel; mean and std are buffers, saved with the weights.

    Args:
        mean: Mean of the training images in [0, 1], one number for each channel.
        std: Standard deviation of the training images, one number for each channel.

    >>> Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))(torch.ones(1, 3, 1, 1)).flatten().tolist()
    [1.0, 1.0, 1.0]
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float] = CIFAR10_MEAN, std: Sequence[float] = CIFAR10_STD) -> None:
        super().__init__()
        self._needs_check = True
        self.register_buffer("mean", torch.tensor(mean).reshape(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).reshape(1, 3, 1, 1))

    def set_statistics(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Replace mean and standard deviation by those of another data set."""
        self.mean.copy_(torch.tensor(mean).reshape(1, 3, 1, 1))
        self.std.copy_(torch.tensor(std).reshape(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Return the normalized images, float [n 3 h w], of images in [0, 1].

        In eval mode, images that are not in [0, 1] cause a warning; see `check_range`. On a CPU the result is in
        channels_last memory format, which all native kernels use. Its dtype is that of the statistics, and so of the
        network: images of float64, for instance, need no conversion.

        Raises:
            UsageError: The images are integers, or not a batch of RGB images.
        """
        if isinstance(images, Tensor):  # not a proxy of torch.fx
            refuse_integers(images)
            if is_checkable(images):
                refuse_other_shapes(images)
            images = images.to(self.mean.dtype)
            if not self.training and self._needs_check:
                self.check_range(images)
        if is_eager_on_cpu(images):
            images = images.contiguous(memory_format=torch.channels_last)
        return (images - self.mean) / self.std

    def check_range(self, images: Tensor) -> None:
        """Warn once if images are not in [0, 1]; on a GPU check only the first batch, to synchronize once.

        Raises:
            UsageError: The images are integers.
        """
        refuse_integers(images)
        if is_checkable(images):
            self._needs_check = not warn_of_range(images) and images.device.type == "cpu"


@contextmanager
def without_range_check(network: nn.Module) -> Iterator[None]:
    """Turn off the range check inside the block, for images that are perturbed on purpose."""
    checking = [layer for layer in network.modules() if isinstance(layer, Normalize) and layer._needs_check]
    for layer in checking:
        layer._needs_check = False
    try:
        yield
    finally:
        for layer in checking:
            layer._needs_check = True
