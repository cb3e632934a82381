"""The model of label noise on labels that are drawn from it, and Bayes' rule written out."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from firstlight.evaluation.label_noise import fit_label_noise, share_interval


def drawn(transition: torch.Tensor, num: int = 4000, spread: float = 3.0) -> tuple[torch.Tensor, ...]:
    """Return logits whose softmax is the probability of the true class, true classes, and labels by the transition."""
    draw = torch.Generator().manual_seed(0)
    logits = spread * torch.randn(num, len(transition), generator=draw)
    true = torch.multinomial(logits.softmax(dim=1), 1, generator=draw)[:, 0]
    labels = torch.multinomial(transition[true], 1, generator=draw)[:, 0]
    return logits, true, labels


def noise_of(share: float, pairs: bool) -> torch.Tensor:
    """Return noise towards the next class, or towards all other classes."""
    off = torch.eye(4).roll(1, dims=1) if pairs else (1 - torch.eye(4)) / 3
    return (1 - share) * torch.eye(4) + share * off


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("share", [0.05, 0.2])
def test_share_and_classes_are_recovered(share: float, pairs: bool) -> None:
    logits, true, labels = drawn(noise_of(share, pairs), num=8000, spread=6.0)
    noise = fit_label_noise(logits, labels)
    actual = float((labels != true).double().mean())
    assert noise.share == pytest.approx(actual, abs=0.015)
    low, high = share_interval(noise)
    assert low <= noise.share <= high
    assert high - low < 0.03
    sure = noise.wrong_probability > 0.9
    assert float((labels != true)[sure].double().mean()) > 0.85
    assert float((noise.likely == true)[sure & (labels != true)].double().mean()) > 0.9


def test_clean_labels_are_not_suspected() -> None:
    logits, true, _ = drawn(torch.eye(4), spread=6.0)
    noise = fit_label_noise(logits, true)
    assert noise.share < 0.01


def test_posterior_is_bayes_rule() -> None:
    logits, _, labels = drawn(noise_of(0.1, pairs=True), num=300)
    votes = functional.one_hot(labels.roll(1), 4).double()
    noise = fit_label_noise(logits, labels, votes)
    for row in (0, 17, 255):
        scores = [
            noise.scale * float(logits[row, k]) + noise.vote_weight * math.log((float(votes[row, k]) + 0.0125) / 1.05)
            for k in range(4)
        ]
        joint = [math.exp(score) * float(noise.transition[k, labels[row]]) for k, score in enumerate(scores)]
        expected = [value / sum(joint) for value in joint]
        assert noise.posterior[row].tolist() == pytest.approx(expected, rel=1e-6, abs=1e-12)
    assert noise.transition.sum(dim=1).tolist() == pytest.approx([1.0] * 4)


def test_known_confusions_rank_wrong_labels_better_than_confidence() -> None:
    logits, true, labels = drawn(noise_of(0.15, pairs=True), num=6000, spread=2.0)
    wrong = labels != true
    suspicion = fit_label_noise(logits, labels).wrong_probability
    confidence = logits.softmax(dim=1).gather(1, labels[:, None])[:, 0].double()
    assert auroc_by_pairs(suspicion, wrong) > auroc_by_pairs(-confidence, wrong) + 0.005


@pytest.mark.parametrize(("pairs", "num"), [(False, 8000), (True, 60), (True, 8000)])
def test_classes_have_their_own_noise_only_if_the_labels_show_it(pairs: bool, num: int) -> None:
    """Noise towards one class shows in many labels; few labels, or noise towards all classes, get one parameter."""
    logits, _, labels = drawn(noise_of(0.1, pairs), num=num, spread=6.0)
    transition = fit_label_noise(logits, labels).transition
    off = transition[~torch.eye(4, dtype=torch.bool)]
    assert (float(off.max() - off.min()) > 0.01) is (pairs and num == 8000)


def test_few_wrong_labels_rank_as_by_confidence() -> None:
    """With a few wrong labels, a transition matrix of its own for each class would follow their chance."""
    logits, true, _ = drawn(torch.eye(4), num=3000, spread=3.0)
    labels = true.clone()
    labels[:6] = (labels[:6] + 1) % 4
    noise = fit_label_noise(logits, labels)
    log_probabilities = (noise.scale * logits).log_softmax(dim=1)
    own = log_probabilities.gather(1, labels[:, None])[:, 0]
    other = log_probabilities.scatter(1, labels[:, None], -math.inf).amax(dim=1)
    assert noise.suspicion.argsort().tolist() == (other - own).double().argsort().tolist()


def test_suspicion_compares_the_label_with_the_likely_class() -> None:
    logits, _, labels = drawn(noise_of(0.1, pairs=True), num=300)
    noise = fit_label_noise(logits, labels)
    for row in (0, 17, 255):
        own, other = (float(noise.posterior[row, each[row]]) for each in (labels, noise.likely))
        assert float(noise.suspicion[row]) == pytest.approx(other / (own + other))


def auroc_by_pairs(scores: torch.Tensor, wrong: torch.Tensor) -> float:
    """Return the share of the pairs of a wrong and a right label in which the wrong one has the larger score."""
    differences = scores[wrong][:, None] - scores[~wrong][None, :]
    return float((differences > 0).double().mean() + (differences == 0).double().mean() / 2)


def test_the_likely_class_is_never_the_label() -> None:
    logits, _, labels = drawn(noise_of(0.1, pairs=False), num=200)
    assert not (fit_label_noise(logits, labels).likely == labels).any()


def test_impossible_input_is_refused() -> None:
    with pytest.raises(ValueError, match="two classes"):
        fit_label_noise(torch.zeros(3, 1), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match="needs images"):
        fit_label_noise(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))
