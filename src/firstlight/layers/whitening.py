"""Patch whitening: a frozen first layer whose outputs are uncorrelated and of equal variance on the training images."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

EPSILON = 5e-4  # added to the variances, so that directions of small variance are not amplified


def whitening_filters(
    images: Float[Tensor, "n c h w"], size_px: int, epsilon: float = EPSILON
) -> Float[Tensor, "d c s s"]:
    """Return the filters that whiten patches: eigenvectors of their second moments, scaled by the eigenvalues.

        M = mean of patch patch^T,   M v[i] = lambda[i] v[i],   filter[i] = v[i] / sqrt(lambda[i] + epsilon)

    There are d = c s s filters, the one with the largest eigenvalue first. For normalized images M is the covariance.
    (Page 2019, "How to Train Your ResNet 8: Bag of Tricks"; Jordan 2024, arXiv 2404.00498, section 3.2.)

    Args:
        images: Input of the layer, float [n c h w].
        size_px: Side s of the patches.
        epsilon: Number that is added to the eigenvalues.

    >>> noise = torch.randn(8, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    >>> whitened = F.conv2d(noise, whitening_filters(noise, 2, epsilon=0.0))
    >>> covariance = whitened.transpose(0, 1).flatten(1).cov(correction=0)
    >>> (covariance - torch.eye(4)).abs().max() < 0.01
    tensor(True)
    """
    channels = images.shape[1]
    patches = F.unfold(images.float(), size_px).transpose(1, 2).flatten(0, 1)  # [patches, c s s]
    moments = (patches.T @ patches).double().cpu() / len(patches)  # too small to be faster on a GPU
    eigenvalues, eigenvectors = torch.linalg.eigh(moments)
    filters = (eigenvectors / (eigenvalues + epsilon).sqrt()).T.flip(0)
    return filters.to(images.device, torch.float32).reshape(-1, channels, size_px, size_px)


class PatchWhitening(nn.Conv2d):
    """A convolution without padding whose frozen weights are the whitening filters and their negatives.

    With both signs, the following activation loses no direction. Only the bias is trained.

    Args:
        channels: Number of input channels.
        size_px: Side of the patches.
        num_directions: Number of filters, those with the largest eigenvalues; the output has twice as many channels.
            All channels * size_px**2 filters if None.

    >>> layer = PatchWhitening(3, 2)
    >>> layer(torch.rand(1, 3, 32, 32)).shape
    torch.Size([1, 24, 31, 31])
    """

    def __init__(self, channels: int, size_px: int, num_directions: int | None = None) -> None:
        if num_directions is None:
            num_directions = channels * size_px**2
        super().__init__(channels, 2 * num_directions, kernel_size=size_px, bias=True)
        self.weight.requires_grad = False

    def init_from_data(self, images: Float[Tensor, "n c h w"]) -> None:
        """Compute the filters from inputs of this layer, float [n c h w]."""
        filters = whitening_filters(images, self.kernel_size[0])[: self.out_channels // 2]
        with torch.no_grad():
            self.weight.copy_(torch.cat([filters, -filters]))
