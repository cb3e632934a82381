"""Weight randomization: a map that explains the network must change when the network's weights do."""

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
    """Randomize the network from the head down and compare each map with the original.

    (Adebayo et al. 2018, "Sanity Checks for Saliency Maps", arXiv 1810.03292, section 4: cascading
    randomization; the similarity is Spearman's rank correlation, here with signs kept.) Near 0 is good: a map that
    stays alike shows the image's edges or the network's shape, not what was learnt.

    Args:
        network: its weights are given back afterwards, bit for bit, after an error too.
        images: float [n 3 h w].
        classes: what each map speaks for, before and after, int64 [n].
        method: a key of `METHODS`.
        stage: as for `explain`.
        seed: of the random weights.

    Returns:
        Rank correlation with the original map, float32 [depth n]: row 0 with the last part of the network
        randomized, each later row with one more, the final row with all.

    >>> from firstlight.networks import ResNet9, ResNet9Config
    >>> network = ResNet9(10, ResNet9Config(width=1))
    >>> weight_randomization(network, torch.rand(2, 3, 32, 32), torch.tensor([0, 1])).shape  # head, residual3 ... prep
    torch.Size([7, 2])
    """
    original = explain(network, images, method=method, stage=stage, target=classes).maps
    correlations = []
    with _weights_given_back(network), _own_random_numbers(network, seed):
        for part in _parts_from_the_head(network):
            _randomize(part)
            changed = explain(network, images, method=method, stage=stage, target=classes).maps
            correlations.append(rank_correlation(original, changed))
    return torch.stack(correlations)


def rank_correlation(first: Float[Tensor, "n h w"], second: Float[Tensor, "n h w"]) -> Float[Tensor, " n"]:
    """Return Spearman's rank correlation of each pair of maps; equal values share their mean rank.

    Returns:
        From -1 to 1, float32 [n]; 0 where a map is flat, as it then has nothing in common with any.

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


def _parts_from_the_head(network: nn.Module) -> list[nn.Module]:
    """The network's direct children that have weights, last first (children stand in the order of the forward pass)."""
    return [part for part in reversed(list(network.children())) if any(True for _ in part.parameters())]


def _randomize(part: nn.Module) -> None:
    """Draw new weights for every module inside, as when it was made; batch norm forgets its statistics."""
    for module in part.modules():
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
        else:
            for parameter in module.parameters(recurse=False):
                nn.init.normal_(parameter, std=0.02)


@contextmanager
def _weights_given_back(network: nn.Module) -> Iterator[None]:
    tensors = list(chain(network.parameters(), network.buffers()))
    saved = [tensor.detach().clone() for tensor in tensors]
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, value in zip(tensors, saved, strict=True):
                tensor.copy_(value)


@contextmanager
def _own_random_numbers(network: nn.Module, seed: int) -> Iterator[None]:
    """Draw from a seed of our own and leave the caller's generators as they were."""
    devices = {parameter.device for parameter in network.parameters() if parameter.device.type == "cuda"}
    with torch.random.fork_rng(devices=list(devices)):
        torch.manual_seed(seed)
        yield
