"""Out-of-distribution detection by the energy of the logits.

Novel means unlike the training data: an image is novel if its energy exceeds a threshold that validation images set.
"""

from __future__ import annotations

import math

from jaxtyping import Bool, Float
from torch import Tensor

from firstlight.arrays import Logits

_ROUNDING = 1e-9  # in floating point, 20 * 0.95 may be slightly more than 19, which `ceil` would raise to 20


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
    """Return an energy that a new in-distribution image exceeds with at most this probability.

    The threshold is the k-th smallest of n energies, k = ceil((n + 1)(1 - false_alarms)). This guarantees the
    probability for any n (split conformal prediction: Vovk et al. 2005; Angelopoulos and Bates 2021, arXiv 2107.07511,
    section 1). Fewer than 19 images cannot guarantee 5 %: then k > n, and the threshold is the largest energy plus the
    difference between the largest and the smallest, which only a very different image exceeds.

    Args:
        energies: Energies of validation images, float [n].
        false_alarms: Largest probability of a false alarm, in (0, 1).

    Raises:
        ValueError: There are no images.

    >>> import torch
    >>> fit_threshold(torch.arange(101.0), 0.05), fit_threshold(torch.arange(7.0), 0.05)
    (96.0, 12.0)
    """
    if not len(energies):
        raise ValueError("the threshold needs energies of validation images")
    ordered = energies.double().sort().values
    rank = math.ceil((len(ordered) + 1) * (1 - false_alarms) - _ROUNDING)
    if rank > len(ordered):
        return float(2 * ordered[-1] - ordered[0])
    return float(ordered[rank - 1])


def is_novel(logits: Logits, threshold: float) -> Bool[Tensor, " n"]:
    """Return whether the energy of each image exceeds the threshold, bool [n].

    >>> import torch
    >>> is_novel(torch.tensor([[0.0, 0.0], [10.0, 0.0]]), -5.0).tolist()
    [True, False]
    """
    return energy(logits) > threshold
