"""A model of label noise, fitted to out-of-fold predictions: how many labels are wrong, which, and what they should be.

The true class k of an image has the probability q_k, a softmax of the network's logits and of the votes of the nearest
neighbours. A label is then drawn from row k of a transition matrix T. Both are fitted by maximum likelihood. Where the
labels show that some classes are confused, T says which ones; otherwise T is the same for all classes, and the rank is
that of the network's confidence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor
from torch.nn import functional

from firstlight.arrays import Labels, Logits
from firstlight.data.rng import generator

SCALES = tuple(2.0 ** (step / 2) for step in range(-6, 7))  # candidate factors of the logits
VOTE_WEIGHTS = (0.0, 0.25, 0.5, 1.0)
NUM_STEPS, NUM_SEARCH_STEPS = 60, 10  # steps of EM in the fit and in the search
START_SHARE = 0.02  # share of wrong labels from which EM starts
# Smallest share that the noise of all classes alike can have: that of CIFAR-10's test images, which few data sets fall
# below (Northcutt, Athalye, Mueller: Pervasive Label Errors in Test Sets Destabilize Machine Learning Benchmarks, 2021,
# table 1). With less, a label could never be suspect in a data set whose errors look like mistakes of the network.
MIN_SHARE = 0.005
PRIOR_IMAGES = 100.0  # weight of the prior of each row of the transition matrix, in images
MAX_SEARCH_NUMBERS = 400_000  # images times classes that are used to search the two weights
NUM_RESAMPLES = 200
LEVEL = 0.95
_SMOOTHING = 0.05  # sum of the votes that are added, so that no class has the probability 0
_TINY = 1e-300


@dataclass(frozen=True, eq=False)
class LabelNoise:
    """A fitted model of label noise.

    Args:
        scale: Factor of the logits.
        vote_weight: Weight of the logarithm of the neighbours' votes.
        transition: Probability of each given label (columns) for each true class (rows), float64 [k k].
        posterior: Probability of each true class given the image and its label, float64 [n k].
        labels: Given labels, int64 [n].
        log_likelihood: Mean log-likelihood of the labels, in nats.
    """

    scale: float
    vote_weight: float
    transition: Float64[Tensor, "k k"]
    posterior: Float64[Tensor, "n k"]
    labels: Labels
    log_likelihood: float

    @property
    def wrong_probability(self) -> Float64[Tensor, " n"]:
        """Probability that each label is wrong, float64 [n]."""
        return (1 - self.posterior.gather(1, self.labels[:, None])[:, 0]).clamp(0, 1)

    @property
    def suspicion(self) -> Float64[Tensor, " n"]:
        """Probability of the likely class, if the true class is either that or the label, float64 [n].

        It exceeds 0.5 where another class is more probable than the label. An image that many classes resemble a little
        is less suspicious than one that clearly is of another class; `wrong_probability` counts both alike.
        """
        own = self.posterior.gather(1, self.labels[:, None])[:, 0]
        other = self.posterior.gather(1, self.likely[:, None])[:, 0]
        return other / (own + other).clamp(min=_TINY)

    @property
    def likely(self) -> Int64[Tensor, " n"]:
        """Most probable class of each image besides its label, int64 [n]."""
        own = functional.one_hot(self.labels, self.posterior.shape[1]).bool()
        return self.posterior.masked_fill(own, -1).argmax(dim=1)

    @property
    def share(self) -> float:
        """Estimated share of wrong labels: the mean of `wrong_probability`."""
        return float(self.wrong_probability.mean()) if len(self.labels) else 0.0


def fit_label_noise(logits: Logits, labels: Labels, votes: Float[Tensor, "n k"] | None = None) -> LabelNoise:
    """Fit the model of label noise by maximum likelihood.

        p(y | x) = sum_k q_k(x) T[k, y],    q(x) = softmax(a z(x) + b log v(x))

    z are logits and v the smoothed votes of the nearest neighbours. T is fitted by expectation maximization, as the
    noise layer of Goldberger and Ben-Reuven 2017 ("Training deep neural networks using a noise adaptation layer") after
    the training; a and b are searched on a grid. Rows of T are shrunk towards equal noise of all classes, which keeps
    them stable for classes with few images. A second fit has one parameter in place of T: the share of labels that
    change to any other class. It is kept unless T has the larger Bayesian information criterion (Schwarz 1978), since a
    T that rests on a few labels ranks worse than none. The posterior of the true class is

        p(k | x, y) = q_k(x) T[k, y] / p(y | x)

    Args:
        logits: Out-of-fold logits, float [n k].
        labels: Given labels, int64 [n].
        votes: Votes from `firstlight.evaluation.label_quality.neighbour_votes`; None leaves them out.

    Raises:
        ValueError: There are no images or fewer than two classes.

    >>> logits = 6 * functional.one_hot(torch.arange(200) % 2, 2).float()
    >>> labels = torch.arange(200) % 2
    >>> labels[:10] = 1 - labels[:10]
    >>> noise = fit_label_noise(logits, labels)
    >>> round(noise.share, 2), bool((noise.wrong_probability[:10] > 0.5).all())
    (0.05, True)
    """
    if not len(labels) or logits.shape[1] < 2:
        raise ValueError("label noise needs images of two classes or more")
    log_votes = None if votes is None else _log_votes(votes)
    simple, full = (_fit(logits.double(), labels, log_votes, is_uniform=each) for each in (True, False))
    num_classes = logits.shape[1]
    num_more_parameters = num_classes * (num_classes - 1) - 1
    gain = len(labels) * (full.log_likelihood - simple.log_likelihood)
    return full if gain > num_more_parameters * math.log(len(labels)) / 2 else simple


def _fit(
    logits: Float64[Tensor, "n k"], labels: Labels, log_votes: Float64[Tensor, "n k"] | None, *, is_uniform: bool
) -> LabelNoise:
    """Return the model with a full transition matrix, or with the same noise for all classes."""
    scale, vote_weight = _search(logits, labels, log_votes, is_uniform=is_uniform)
    log_prior = _log_prior(logits, log_votes, scale, vote_weight)
    transition = _fit_transition(log_prior, labels, NUM_STEPS, is_uniform=is_uniform)
    posterior, log_likelihood = _posterior(log_prior, labels, transition)
    return LabelNoise(scale, vote_weight, transition, posterior, labels, log_likelihood)


def share_interval(noise: LabelNoise, num_resamples: int = NUM_RESAMPLES, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the share of wrong labels: percentiles over resampled images.

    It covers the choice of the images, not whether the model fits.

    Args:
        noise: Fitted model.
        num_resamples: Number of bootstrap samples.
        seed: Seed of the samples.
    """
    wrong = noise.wrong_probability
    draw = generator(seed, 0, "label noise")
    rows = (torch.randint(len(wrong), (len(wrong),), generator=draw) for _ in range(num_resamples))
    # Whether a label is wrong is drawn with its probability, so the interval covers this chance, too.
    tosses = torch.stack([_toss(wrong[each], draw).mean() for each in rows])
    low, high = tosses.quantile(torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=torch.float64)).tolist()
    return min(low, noise.share), max(high, noise.share)


def _toss(probabilities: Float64[Tensor, " n"], draw: torch.Generator) -> Float64[Tensor, " n"]:
    return (torch.rand(len(probabilities), generator=draw, dtype=torch.float64) < probabilities).double()


def _log_votes(votes: Float[Tensor, "n k"]) -> Float64[Tensor, "n k"]:
    return ((votes.double() + _SMOOTHING / votes.shape[1]) / (1 + _SMOOTHING)).log()


def _log_prior(
    logits: Float64[Tensor, "n k"], log_votes: Float64[Tensor, "n k"] | None, scale: float, vote_weight: float
) -> Float64[Tensor, "n k"]:
    scores = scale * logits
    if log_votes is not None:
        scores = scores + vote_weight * log_votes
    return scores.log_softmax(dim=1)


def _search(
    logits: Float64[Tensor, "n k"], labels: Labels, log_votes: Float64[Tensor, "n k"] | None, *, is_uniform: bool
) -> tuple[float, float]:
    """Return the scale of the logits and the weight of the votes with the largest likelihood."""
    num = max(1, MAX_SEARCH_NUMBERS // logits.shape[1])
    rows = torch.randperm(len(labels), generator=generator(0, 0, "label noise search"))[:num]
    logits, labels = logits[rows], labels[rows]
    log_votes = None if log_votes is None else log_votes[rows]
    centre = 1 / max(1e-3, float(logits.std(dim=1).median())) * 3  # logits of any network, at a common scale
    weights = (0.0,) if log_votes is None else VOTE_WEIGHTS
    best, chosen = -float("inf"), (centre, 0.0)
    for scale in (centre * factor for factor in SCALES):
        for weight in weights:
            log_prior = _log_prior(logits, log_votes, scale, weight)
            transition = _fit_transition(log_prior, labels, NUM_SEARCH_STEPS, is_uniform=is_uniform)
            _, log_likelihood = _posterior(log_prior, labels, transition)
            if log_likelihood > best:
                best, chosen = log_likelihood, (scale, weight)
    return chosen


def _fit_transition(
    log_prior: Float64[Tensor, "n k"], labels: Labels, num_steps: int, *, is_uniform: bool
) -> Float64[Tensor, "k k"]:
    """Return the transition matrix after a number of EM steps, on request with the same noise for all classes."""
    num_classes = log_prior.shape[1]
    own = functional.one_hot(labels, num_classes).double()
    prior = log_prior.exp()
    pooled = _uniform(num_classes, START_SHARE)
    transition = pooled
    for _ in range(num_steps):
        posterior = prior * transition.T[labels]
        posterior = posterior / posterior.sum(dim=1, keepdim=True).clamp(min=_TINY)
        counts = posterior.T @ own
        share = float(1 - counts.trace() / counts.sum())
        pooled = _uniform(num_classes, min(max(share, MIN_SHARE), 0.5))
        shrunk = (counts + PRIOR_IMAGES * pooled) / (counts.sum(dim=1, keepdim=True) + PRIOR_IMAGES)
        transition = pooled if is_uniform else shrunk
    return transition


def _uniform(num_classes: int, share: float) -> Float64[Tensor, "k k"]:
    """Return the transition matrix of noise that changes a share of the labels to any other class."""
    off = torch.full((num_classes, num_classes), share / (num_classes - 1), dtype=torch.float64)
    return off.fill_diagonal_(1 - share)


def _posterior(
    log_prior: Float64[Tensor, "n k"], labels: Labels, transition: Float64[Tensor, "k k"]
) -> tuple[Float64[Tensor, "n k"], float]:
    """Return the posterior of the true class, and the mean log-likelihood of the labels."""
    joint = log_prior + transition.T[labels].clamp(min=_TINY).log()
    evidence = joint.logsumexp(dim=1, keepdim=True)
    return (joint - evidence).exp(), float(evidence.mean())
