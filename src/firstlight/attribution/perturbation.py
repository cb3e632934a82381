"""Deletion and insertion: does the score fall, or rise, with the pixels that a map calls important?"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from firstlight.arrays import Labels, UnitImages
from firstlight.attribution.capture import borrowed, first_parameter

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
    """Replace the pixels, most important first, and watch the class's probability.

    (Petsiuk et al. 2018, RISE, arXiv 1806.07421, section 4.1.) A map that names what the network used makes
    the probability fall early: a small area under the curve (`area_under`) is good.

    Args:
        network: takes RGB in [0, 1], returns logits; runs in eval mode.
        images: float [n 3 h w].
        maps: cams at the size of the images, signed: the largest values go first, float [n h w].
        classes: whose probability, int64 [n].
        replacement: what deleted pixels turn into, float [n 3 h w]; see `mean_colour` and `blurred`.
        num_steps: in how many equal portions the pixels go.

    Returns:
        Probability of the class with 0, 1/num_steps, ... all of the pixels replaced, float32 [n num_steps+1].

    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(3, 2))
    >>> deletion(network, torch.rand(5, 3, 1, 1), torch.rand(5, 1, 1), torch.zeros(5).long(),
    ...          torch.zeros(5, 3, 1, 1), num_steps=1).shape
    torch.Size([5, 2])
    """
    ranks = importance_ranks(maps)
    counts = torch.linspace(0, maps[0].numel() if len(maps) else 0, num_steps + 1).round().tolist()
    like = first_parameter(network)
    curves = torch.zeros(len(images), num_steps + 1)
    with torch.inference_mode(), borrowed(network):
        for start in range(0, len(images), BATCH_SIZE):
            rows = slice(start, start + BATCH_SIZE)
            before, after = (each[rows].to(like.device, like.dtype) for each in (images, replacement))
            rank = ranks[rows, None].to(like.device)
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
    """Start from the replacement and give the image's pixels back, most important first.

    (Petsiuk et al. 2018, RISE, arXiv 1806.07421, section 4.1.) Deletion with the two images exchanged:
    here a large area under the curve is good. Arguments and result as for `deletion`.
    """
    return deletion(network, replacement, maps, classes, images, num_steps=num_steps)


def area_under(curves: Float[Tensor, "n points"]) -> Float[Tensor, " n"]:
    """Return the area under each curve by the trapezoid rule, the whole way counted as 1.

    >>> area_under(torch.tensor([[1.0, 0.5, 0.0]])).tolist()
    [0.5]
    """
    return torch.trapezoid(curves, dim=1) / (curves.shape[1] - 1)


def importance_ranks(maps: Float[Tensor, "n h w"], seed: int = 0) -> Int64[Tensor, "n h w"]:
    """Number the pixels from 0, the most important, on; equal ones in one random order for all maps.

    A fixed random order, as reading order would favour the top left corner of flat maps.

    >>> importance_ranks(torch.tensor([[[0.5, -1.0], [2.0, 1.0]]])).tolist()
    [[[2, 3], [0, 1]]]
    """
    flat = maps.flatten(1)
    shuffle = torch.randperm(flat.shape[1], generator=torch.Generator().manual_seed(seed)).to(maps.device)
    order = shuffle[flat[:, shuffle].argsort(dim=1, descending=True, stable=True)]
    return order.argsort(dim=1).view(maps.shape)


def random_maps(num_images: int, size: tuple[int, int], seed: int = 0) -> Float[Tensor, "n h w"]:
    """Return maps of independent normal noise: what any method has to beat.

    Compare at equal coarseness. Scattered pixels break an image far more than blobs do, so noise at the size of the
    pixels is a strong opponent on deletion and an unfair one for a 4x4 map.

    >>> random_maps(2, (4, 4)).shape
    torch.Size([2, 4, 4])
    """
    return torch.randn(num_images, *size, generator=torch.Generator().manual_seed(seed))


def mean_colour(images: UnitImages, colour: Float[Tensor, " 3"] | None = None) -> UnitImages:
    """Paint every image over with one colour, by default its own mean.

    Args:
        images: float [n 3 h w].
        colour: RGB in [0, 1], float [3]; the training set's mean is what a network takes for nothing.

    >>> mean_colour(torch.tensor([0.0, 1.0]).expand(1, 3, 1, 2)).flatten().tolist()
    [0.5, 0.5, 0.5, 0.5, 0.5, 0.5]
    """
    fill = images.mean(dim=(2, 3), keepdim=True) if colour is None else colour.to(images)[:, None, None]
    return fill.expand_as(images).clone()


def blurred(images: UnitImages, sigma_px: float = 4.0) -> UnitImages:
    """Blur with a Gaussian, the edge pixels continued outwards.

    Args:
        images: float [n 3 h w].
        sigma_px: standard deviation in pixels; at 4, hardly any class survives in a 32x32 image.

    >>> blurred(torch.ones(1, 3, 2, 2)).allclose(torch.ones(1, 3, 2, 2))
    True
    """
    radius = int(3 * sigma_px + 0.5)
    kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, device=images.device) / sigma_px) ** 2)
    kernel = (kernel / kernel.sum()).to(images.dtype).expand(3, 1, 1, -1)
    across = F.conv2d(F.pad(images, (radius, radius, 0, 0), mode="replicate"), kernel, groups=3)
    return F.conv2d(F.pad(across, (0, 0, radius, radius), mode="replicate"), kernel.transpose(2, 3), groups=3)
