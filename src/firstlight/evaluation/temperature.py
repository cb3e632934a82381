"""Temperature scaling: fits the number by which logits are divided before the softmax."""

from __future__ import annotations

import torch

from firstlight.arrays import Labels, Logits

MIN_TEMPERATURE, MAX_TEMPERATURE = 1e-2, 1e2
_NUM_HALVINGS = 60  # bisections of the logarithmic search interval, which reach the precision of float64


def fit_temperature(logits: Logits, labels: Labels) -> float:
    """Return the temperature T > 0 that maximizes the likelihood of the labels under `softmax(logits / T)`.

    The negative log-likelihood is convex in b = 1 / T. Its derivative is

        d/db = mean_n( sum_k p[n, k] z[n, k] - z[n, labels[n]] ),    p = softmax(b z)

    and bisection finds its zero. One temperature serves all classes and is fitted on validation images. It does not
    change the predicted classes. Guo et al. 2017, arXiv 1706.04599, section 4.2.

    Args:
        logits: Logits z of validation images, float [n k].
        labels: True classes, int64 [n].

    Returns:
        The temperature, between 0.01 and 100.

    Raises:
        ValueError: There are no images.

    >>> z = torch.tensor([[2.0, 0.0]] * 4)
    >>> round(fit_temperature(z, torch.tensor([0, 0, 0, 1])), 4)  # three of four labels are class 0, so 2 / T = log(3)
    1.8205
    """
    if not len(labels):
        raise ValueError("there are no images to fit the temperature on")
    z = logits.double()
    true_logits = z.gather(1, labels[:, None])[:, 0]
    low, high = torch.tensor([1 / MAX_TEMPERATURE, 1 / MIN_TEMPERATURE], dtype=torch.float64).log()
    for _ in range(_NUM_HALVINGS):
        middle = (low + high) / 2
        expected = ((z * middle.exp()).softmax(dim=1) * z).sum(dim=1)
        if float((expected - true_logits).mean()) < 0:  # a larger b increases the likelihood
            low = middle
        else:
            high = middle
    return float(1 / ((low + high) / 2).exp())
