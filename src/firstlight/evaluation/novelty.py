"""Novelty: whether an image is unlike everything that a network was trained on."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor

from firstlight.arrays import Logits


def energy(logits: Logits) -> Float[Tensor, " n"]:
    """Return the free energy of each image, float [n]; high for images that excite no class.

        E = -log sum_k exp(logits[k])

    Liu et al. 2020, arXiv 2010.03759, equation 4, at temperature 1, which the authors recommend.

    >>> import torch
    >>> [round(each, 3) for each in energy(torch.tensor([[0.0, 0.0], [10.0, 0.0]])).tolist()]
    [-0.693, -10.0]
    """
    return -logits.float().logsumexp(dim=1)


def fit_threshold(familiar: Float[Tensor, " n"], false_alarms: float) -> float:
    """Return the energy that this share of familiar images exceeds.

    Args:
        familiar: energies of validation images, float [n].
        false_alarms: the share, in [0, 1].

    >>> import torch
    >>> fit_threshold(torch.arange(101.0), 0.05)
    95.0
    """
    return float(familiar.double().quantile(1 - false_alarms))


def is_novel(logits: Logits, threshold: float) -> Bool[Tensor, " n"]:
    """Whether each image's energy is above the threshold, bool [n].

    >>> import torch
    >>> is_novel(torch.tensor([[0.0, 0.0], [10.0, 0.0]]), -5.0).tolist()
    [True, False]
    """
    return energy(logits) > threshold
