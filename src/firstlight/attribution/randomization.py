"""Cascading weight randomization: a map that explains the network must change with the network's weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from jaxtyping import Float
from torch import Tensor, nn

from firstlight.arrays import Labels, UnitImages
from firstlight.attribution.capture import Stage
from firstlight.attribution.explain import DEFAULT_METHOD, explain


def weight_randomization(
    network: nn.Module,
    images: UnitImages,
    classes: Labels,
    *,
    method: str = DEFAULT_METHOD,
    stage: Stage | None = None,
    seed: int = 0,
) -> Float[Tensor, "depth n"]:
    """Randomize the network's children from the last to the first, and compare each new map with the original.

    Adebayo et al. 2018, "Sanity Checks for Saliency Maps", arXiv 1810.03292, section 4 (cascading randomization). The
    similarity is Spearman's rank correlation of the signed maps. Values near 0 are good: a map that stays similar
    shows edges of the image or the architecture, not what the network learned.

    Args:
        network: Network that takes RGB in [0, 1] and returns logits. Its weights are restored bit for bit, also after
            an error.
        images: RGB in [0, 1], float [n 3 h w].
        classes: Class that each map explains, before and after, int64 [n].
        method: Name of the method.
        stage: Stage to explain; see `explain`.
        seed: Seed of the random weights.

    Returns:
        Rank correlation with the original map, float32 [depth n]. In row i the last i + 1 children that have
        parameters are randomized; in the last row all of them.

    >>> from firstlight.networks import ResNet9, ResNet9Config
    >>> network = ResNet9(10, ResNet9Config(width=1))
    >>> weight_randomization(network, torch.rand(2, 3, 32, 32), torch.tensor([0, 1])).shape  # head, residual3 ... prep
    torch.Size([7, 2])
    """
    original = explain(network, images, method=method, stage=stage, target=classes).maps
    correlations = []
    with _restore_weights(network), _seeded_rng(network, seed):
        for child in _children_from_last(network):
            _randomize(child)
            changed = explain(network, images, method=method, stage=stage, target=classes).maps
            correlations.append(rank_correlation(original, changed))
    return torch.stack(correlations)


def rank_correlation(first: Float[Tensor, "n h w"], second: Float[Tensor, "n h w"]) -> Float[Tensor, " n"]:
    """Return Spearman's rank correlation of each pair of maps; equal values share their mean rank.

    Args:
        first: Maps, float [n h w].
        second: Maps to compare with, float [n h w].

    Returns:
        Correlations from -1 to 1, float32 [n]; 0 where one of the maps is constant.

    >>> cam = torch.tensor([[[1.0, 2.0, 30.0]]])
    >>> rank_correlation(cam, cam.exp()).tolist(), rank_correlation(cam, -cam).tolist()
    ([1.0], [-1.0])
    """
    a, b = _centred_ranks(first), _centred_ranks(second)
    norms = a.norm(dim=1) * b.norm(dim=1)
    return ((a * b).sum(dim=1) / torch.where(norms > 0, norms, 1)).float()


def _centred_ranks(maps: Float[Tensor, "n h w"]) -> Float[Tensor, "n cells"]:
    flat = maps.flatten(1).contiguous()
    ascending = flat.sort(dim=1).values
    below = torch.searchsorted(ascending, flat)
    not_above = torch.searchsorted(ascending, flat, right=True)
    ranks = (below + not_above).double() / 2
    return ranks - ranks.mean(dim=1, keepdim=True)


def _children_from_last(network: nn.Module) -> list[nn.Module]:
    """Return the direct children that have parameters, last first; they are registered in forward order."""
    return [child for child in reversed(list(network.children())) if any(True for _ in child.parameters())]


def _randomize(child: nn.Module) -> None:
    """Initialize the weights of the module and its submodules anew; batch norm also resets its running statistics."""
    for module in child.modules():
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
        else:
            for parameter in module.parameters(recurse=False):
                nn.init.normal_(parameter, std=0.02)


@contextmanager
def _restore_weights(network: nn.Module) -> Iterator[None]:
    """Restore parameters and buffers when the block ends."""
    tensors = list(chain(network.parameters(), network.buffers()))
    saved = [tensor.detach().clone() for tensor in tensors]
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, value in zip(tensors, saved, strict=True):
                tensor.copy_(value)


@contextmanager
def _seeded_rng(network: nn.Module, seed: int) -> Iterator[None]:
    """Seed PyTorch's generators inside the block and restore their states when it ends."""
    devices = {parameter.device for parameter in network.parameters() if parameter.device.type == "cuda"}
    with torch.random.fork_rng(devices=list(devices)):
        torch.manual_seed(seed)
        yield
