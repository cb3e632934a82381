"""Deletion and insertion curves: how the probability changes as pixels are replaced in the order of a map."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from firstlight.arrays import Labels, UnitImages
from firstlight.attribution.capture import first_parameter, frozen_in_evaluation

DEFAULT_NUM_STEPS = 16
BATCH_SIZE = 256


def deletion(
    network: nn.Module,
    images: UnitImages,
    maps: Float[Tensor, "n h w"],
    classes: Labels,
    replacement: UnitImages,
    *,
    num_steps: int = DEFAULT_NUM_STEPS,
) -> Float[Tensor, "n points"]:
    """Return the probability of a class while its most important pixels are replaced first.

    Petsiuk et al. 2018 (RISE), arXiv 1806.07421, section 4.1. If a map shows the pixels that the network uses, the
    probability falls early, so a small area under the curve (`area_under`) is good.

    Args:
        network: Network that takes RGB in [0, 1] and returns logits; it runs in eval mode.
        images: RGB in [0, 1], float [n 3 h w].
        maps: CAMs at the size of the images, signed, float [n h w]; pixels with the largest values are replaced first.
        classes: Class of each image whose probability is measured, int64 [n].
        replacement: New values of the replaced pixels, float [n 3 h w]; see `mean_colour` and `blurred`.
        num_steps: Number of equal steps in which the pixels are replaced.

    Returns:
        Probability with the fractions 0, 1/num_steps, ..., 1 of the pixels replaced, float32 [n num_steps+1].

    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(3, 2))
    >>> deletion(network, torch.rand(5, 3, 1, 1), torch.rand(5, 1, 1), torch.zeros(5).long(),
    ...          torch.zeros(5, 3, 1, 1), num_steps=1).shape
    torch.Size([5, 2])
    """
    ranks = importance_ranks(maps)
    counts = torch.linspace(0, maps[0].numel() if len(maps) else 0, num_steps + 1).round().tolist()
    parameter = first_parameter(network)
    curves = torch.zeros(len(images), num_steps + 1)
    with torch.inference_mode(), frozen_in_evaluation(network):
        for start in range(0, len(images), BATCH_SIZE):
            rows = slice(start, start + BATCH_SIZE)
            before, after = (batch[rows].to(parameter.device, parameter.dtype) for batch in (images, replacement))
            rank = ranks[rows, None].to(parameter.device)
            for point, count in enumerate(counts):
                probabilities = network(torch.where(rank < count, after, before)).float().softmax(dim=1)
                curves[rows, point] = probabilities.cpu().gather(1, classes[rows, None].cpu())[:, 0]
    return curves


def insertion(
    network: nn.Module,
    images: UnitImages,
    maps: Float[Tensor, "n h w"],
    classes: Labels,
    replacement: UnitImages,
    *,
    num_steps: int = DEFAULT_NUM_STEPS,
) -> Float[Tensor, "n points"]:
    """Return the probability of a class while the replacement turns into the image, most important pixels first.

    Petsiuk et al. 2018 (RISE), arXiv 1806.07421, section 4.1. This is deletion with the two images exchanged, so a
    large area under the curve is good. Arguments and result are those of `deletion`.
    """
    return deletion(network, replacement, maps, classes, images, num_steps=num_steps)


def area_under(curves: Float[Tensor, "n points"]) -> Float[Tensor, " n"]:
    """Return the area under each curve by the trapezoid rule, with a horizontal axis from 0 to 1.

    Args:
        curves: Values at equal distances, float [n points].

    Returns:
        Areas, float [n].

    >>> area_under(torch.tensor([[1.0, 0.5, 0.0]])).tolist()
    [0.5]
    """
    return torch.trapezoid(curves, dim=1) / (curves.shape[1] - 1)


def importance_ranks(maps: Float[Tensor, "n h w"], seed: int = 0) -> Int64[Tensor, "n h w"]:
    """Return each pixel's rank by importance, from 0 for the largest value; ties are broken at random.

    The random order of ties is the same for all maps. Without it, reading order would favour the top left corner of
    constant maps.

    Args:
        maps: CAMs, float [n h w].
        seed: Seed of the random order.

    Returns:
        Ranks from 0 to h w - 1, int64 [n h w].

    >>> importance_ranks(torch.tensor([[[0.5, -1.0], [2.0, 1.0]]])).tolist()
    [[[2, 3], [0, 1]]]
    """
    flat = maps.flatten(1)
    shuffle = torch.randperm(flat.shape[1], generator=torch.Generator().manual_seed(seed)).to(maps.device)
    order = shuffle[flat[:, shuffle].argsort(dim=1, descending=True, stable=True)]
    return order.argsort(dim=1).view(maps.shape)


def random_maps(num_images: int, size: tuple[int, int], seed: int = 0) -> Float[Tensor, "n h w"]:
    """Return maps of independent standard normal noise, the baseline for every method.

    Compare a method with noise of the same resolution. Scattered pixels disturb an image far more than connected
    areas do, so noise at the image's resolution deletes well and is an unfair baseline for a 4x4 map.

    Args:
        num_images: Number n of maps.
        size: Height and width of the maps.
        seed: Seed of the noise.

    Returns:
        Noise, float32 [n h w].

    >>> random_maps(2, (4, 4)).shape
    torch.Size([2, 4, 4])
    """
    return torch.randn(num_images, *size, generator=torch.Generator().manual_seed(seed))


def mean_colour(images: UnitImages, colour: Float[Tensor, " 3"] | None = None) -> UnitImages:
    """Return images of one colour: a given one, or each image's own mean.

    Args:
        images: RGB in [0, 1], float [n 3 h w].
        colour: RGB in [0, 1], float [3]. The mean of the training set is zero after normalization.

    Returns:
        Images of one colour, float [n 3 h w].

    >>> mean_colour(torch.tensor([0.0, 1.0]).expand(1, 3, 1, 2)).flatten().tolist()
    [0.5, 0.5, 0.5, 0.5, 0.5, 0.5]
    """
    fill = images.mean(dim=(2, 3), keepdim=True) if colour is None else colour.to(images)[:, None, None]
    return fill.expand_as(images).clone()


def blurred(images: UnitImages, sigma_px: float = 4.0) -> UnitImages:
    """Return the images blurred with a Gaussian; beyond the border the edge pixels are repeated.

    Args:
        images: RGB in [0, 1], float [n 3 h w].
        sigma_px: Standard deviation in pixels; at 4, hardly any class of a 32x32 image is recognizable.

    Returns:
        Blurred images, float [n 3 h w].

    >>> blurred(torch.ones(1, 3, 2, 2)).allclose(torch.ones(1, 3, 2, 2))
    True
    """
    radius = int(3 * sigma_px + 0.5)
    kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, device=images.device) / sigma_px) ** 2)
    kernel = (kernel / kernel.sum()).to(images.dtype).expand(3, 1, 1, -1)
    across = F.conv2d(F.pad(images, (radius, radius, 0, 0), mode="replicate"), kernel, groups=3)
    return F.conv2d(F.pad(across, (0, 0, radius, radius), mode="replicate"), kernel.transpose(2, 3), groups=3)
