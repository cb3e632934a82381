"""Scores that rank labels by how likely they are wrong. A smaller score means a more suspicious label.

They need out-of-fold predictions: each image is predicted by a network that was not trained on it.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor
from torch.nn import functional

from firstlight.arrays import Features, Labels
from firstlight.evaluation.neighbours import Neighbours, nearest_neighbours

NUM_NEIGHBOURS = 10
_QUERIES = 1024  # number of queries in one search, which limits its memory

Probabilities = Float[Tensor, "n k"]


def self_confidence(probabilities: Probabilities, labels: Labels) -> Float64[Tensor, " n"]:
    """Return the probability of each image's own label, float64 [n].

        s = p(y | x)

    Northcutt et al. 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 70, arXiv 1911.00068.

    >>> self_confidence(torch.tensor([[0.75, 0.25]]), torch.tensor([1])).tolist()
    [0.25]
    """
    return probabilities.double().gather(1, labels[:, None])[:, 0]


def normalized_margin(probabilities: Probabilities, labels: Labels) -> Float64[Tensor, " n"]:
    """Return the probability of the label minus the largest probability of another class, in [-1, 1], float64 [n].

        s = p(y | x) - max_(k != y) p(k | x)

    Northcutt et al. 2021, arXiv 1911.00068, section 3.2.

    >>> normalized_margin(torch.tensor([[0.75, 0.25]]), torch.tensor([1])).tolist()
    [-0.5]
    """
    own = functional.one_hot(labels, probabilities.shape[1]).bool()
    others = probabilities.double().masked_fill(own, -torch.inf).amax(dim=1)
    return self_confidence(probabilities, labels) - others


def confident_classes(probabilities: Probabilities, labels: Labels) -> Int64[Tensor, " n"]:
    """Return the class as which the confident joint counts each image, int64 [n]; -1 if it does not count the image.

    The threshold of class j is the mean probability of j over the images that are labelled j. An image counts as the
    most probable of the classes whose thresholds it reaches. Northcutt et al. 2021, arXiv 1911.00068, equations 1
    and 2.

    Args:
        probabilities: Out-of-fold probabilities, float [n k].
        labels: Given labels, int64 [n].

    >>> p = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.45, 0.55]])
    >>> confident_classes(p, torch.tensor([0, 0, 1, 1])).tolist()
    [0, 1, 1, -1]
    """
    p = probabilities.double()
    own = functional.one_hot(labels, p.shape[1]).double()
    counts = own.sum(dim=0)
    thresholds = torch.where(counts > 0, (own * p).sum(dim=0) / counts.clamp(min=1), torch.inf)
    eligible = p.masked_fill(p < thresholds, -torch.inf)
    best, classes = eligible.max(dim=1)
    return torch.where(best > -torch.inf, classes, -1)


def confident_joint(probabilities: Probabilities, labels: Labels) -> Float64[Tensor, "k k"]:
    """Estimate the joint distribution of given labels (rows) and true labels (columns), float64 [k k] with sum 1.

    The counts of `confident_classes` are scaled so that each row has the share of the images with that label.
    Northcutt et al. 2021, arXiv 1911.00068, equation 3. One minus the trace estimates the share of wrong labels.

    >>> p = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.45, 0.55]])
    >>> confident_joint(p, torch.tensor([0, 0, 1, 1])).tolist()
    [[0.25, 0.25], [0.0, 0.5]]
    """
    num_classes = probabilities.shape[1]
    classes = confident_classes(probabilities, labels)
    counted = classes >= 0
    joint = torch.bincount(labels[counted] * num_classes + classes[counted], minlength=num_classes**2)
    joint = joint.reshape(num_classes, num_classes).double()
    rows = joint.sum(dim=1, keepdim=True)
    joint = torch.where(rows > 0, joint / rows.clamp(min=1), torch.eye(num_classes, dtype=torch.float64))
    return joint * labels.bincount(minlength=num_classes)[:, None] / max(1, len(labels))


def confident_learning(probabilities: Probabilities, labels: Labels) -> Float64[Tensor, " n"]:
    """Return scores by confident learning, float64 [n].

    Images that the confident joint counts as another class than their label have the smallest scores. Within both
    groups, the normalized margin decides.

    Northcutt et al. 2021, arXiv 1911.00068, section 3.2, "prune by off-diagonals", ranked by the normalized margin.

    >>> p = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.45, 0.55]])
    >>> [round(score, 2) for score in confident_learning(p, torch.tensor([0, 0, 1, 1])).tolist()]
    [0.8, -2.6, 0.8, 0.1]
    """
    classes = confident_classes(probabilities, labels)
    is_off: Bool[Tensor, " n"] = (classes >= 0) & (classes != labels)
    return normalized_margin(probabilities, labels) - 2.0 * is_off


def neighbours_in_folds(
    features: Features, folds: Int64[Tensor, " n"], num_neighbours: int = NUM_NEIGHBOURS
) -> Neighbours:
    """Return the nearest neighbours of each image among the others of its fold.

    Distances are Euclidean, between features that are scaled to length 1. Only images whose features come from the same
    network are neighbours, because features of two networks cannot be compared.

    Args:
        features: Input of the head, float [n f].
        folds: Number of the network that computed each image's features, int64 [n].
        num_neighbours: Number k of neighbours.

    Returns:
        Indices into the images and distances; -1 and infinity where a fold has too few images.

    >>> features = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    >>> neighbours_in_folds(features, torch.tensor([0, 0, 0, 0]), 1).indices.tolist()
    [[1], [0], [3], [2]]
    """
    indices = torch.full((len(folds), num_neighbours), -1)
    distances = torch.full((len(folds), num_neighbours), torch.inf, dtype=torch.float64)
    unit = functional.normalize(features.float(), dim=1)
    for fold in folds.unique().tolist():
        rows = (folds == fold).nonzero().flatten()
        num_found = min(num_neighbours, len(rows) - 1)
        for chunk in torch.arange(len(rows)).split(_QUERIES):
            found = nearest_neighbours(unit[rows[chunk]], unit[rows], num_found + 1)
            is_other = found.indices != chunk[:, None]
            is_other &= is_other.cumsum(dim=1) <= num_found
            indices[rows[chunk], :num_found] = rows[found.indices[is_other]].reshape(len(chunk), num_found)
            distances[rows[chunk], :num_found] = found.distances[is_other].reshape(len(chunk), num_found)
    return Neighbours(indices, distances)


def neighbour_votes(neighbours: Neighbours, labels: Labels, num_classes: int) -> Float64[Tensor, "n k"]:
    """Return the share of each class among the labels of each image's neighbours, float64 [n k].

    Args:
        neighbours: Neighbours from `neighbours_in_folds`.
        labels: Given labels, int64 [n].
        num_classes: Number k of classes.

    >>> neighbours = Neighbours(torch.tensor([[1, 2], [0, -1], [0, 1]]), torch.zeros(3, 2).double())
    >>> neighbour_votes(neighbours, torch.tensor([0, 1, 1]), 2).tolist()
    [[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]]
    """
    is_known = neighbours.indices >= 0
    votes = torch.zeros(len(labels), num_classes, dtype=torch.float64)
    votes.scatter_add_(1, labels[neighbours.indices.clamp(min=0)], is_known.double())
    return votes / is_known.sum(dim=1, keepdim=True).clamp(min=1)


def neighbour_agreement(votes: Float64[Tensor, "n k"], labels: Labels) -> Float64[Tensor, " n"]:
    """Return the share of an image's nearest neighbours that have its label, float64 [n].

    Args:
        votes: Votes from `neighbour_votes`.
        labels: Given labels, int64 [n].
    """
    return self_confidence(votes, labels)
