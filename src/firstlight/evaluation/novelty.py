"""Out-of-distribution detection by the energy of the logits."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor

from firstlight.arrays import Logits


def energy(logits: Logits) -> Float[Tensor, " n"]:
    """Return the free energy of each image, float [n]; it is high if all logits are small.

        E = -log sum_k exp(logits[k])

    Liu et al. 2020, arXiv 2010.03759, equation 4, at the recommended temperature of 1.

    >>> import torch
    >>> [round(value, 3) for value in energy(torch.tensor([[0.0, 0.0], [10.0, 0.0]])).tolist()]
    [-0.693, -10.0]
    """
    return -logits.float().logsumexp(dim=1)


def fit_threshold(energies: Float[Tensor, " n"], false_alarms: float) -> float:
    """Return the energy that a share of the in-distribution images exceeds.

    Args:
        energies: Energies of validation images, float [n].
        false_alarms: Share of these images above the threshold, in [0, 1].

    >>> import torch
    >>> fit_threshold(torch.arange(101.0), 0.05)
    95.0
    """
    return float(energies.double().quantile(1 - false_alarms))


def is_novel(logits: Logits, threshold: float) -> Bool[Tensor, " n"]:
    """Return whether the energy of each image exceeds the threshold, bool [n].

    >>> import torch
    >>> is_novel(torch.tensor([[0.0, 0.0], [10.0, 0.0]]), -5.0).tolist()
    [True, False]
    """
    return energy(logits) > threshold
