"""Influence of training images on the loss of other images, by TracIn of the last layer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor
from torch.nn import functional as F

from firstlight.arrays import Features, Labels, Logits
from firstlight.evaluation.neighbours import largest_by_block


@dataclass(frozen=True, eq=False)
class LastLayerGradients:
    """Gradients of each image's cross-entropy with respect to the weights of the last linear layer, as two factors.

    The gradient is the outer product of the image's error vector and its features.

    Args:
        errors: Probabilities minus the target probabilities, float [n k].
        features: Inputs of the layer, float [n f].
    """

    errors: Float[Tensor, "n k"]
    features: Features

    @staticmethod
    def of(logits: Logits, features: Features, labels: Labels, label_smoothing: float = 0.0) -> LastLayerGradients:
        """Return the gradients of the loss of some images.

        Args:
            logits: Logits, float [n k].
            features: Inputs of the last layer, float [n f].
            labels: True classes, int64 [n].
            label_smoothing: Share of the target probability that is spread over all classes, in [0, 1].
        """
        num_classes = logits.shape[1]
        targets = F.one_hot(labels, num_classes) * (1 - label_smoothing) + label_smoothing / num_classes
        return LastLayerGradients(logits.double().softmax(dim=1) - targets, features)


@dataclass(frozen=True, eq=False)
class Influences:
    """The most influential training images of each image, the largest absolute influence first.

    Args:
        indices: Rows of the training images, int64 [m k].
        values: Influences, float64 [m k]: positive if a training step on the training image lowers the image's loss.
    """

    indices: Int64[Tensor, "m k"]
    values: Float64[Tensor, "m k"]


def most_influential(
    images: LastLayerGradients, training: LastLayerGradients, num_chosen: int, *, has_bias: bool = False
) -> Influences:
    """Return the training images with the largest absolute influence on the loss of each image.

    Pruthi et al. 2020, "Estimating Training Data Influence by Tracing Gradient Descent", arXiv 2002.08484, equation 1
    for the final weights and section 4.1 for the last layer. With the errors e and the features f of both images,

        influence = (e . e') (f . f')

    and with a bias (e . e') (f . f' + 1). It is in units of the loss for a learning rate of 1.

    Args:
        images: Gradients of the images to explain.
        training: Gradients of the training images.
        num_chosen: Number k of training images for each image; all if there are fewer.
        has_bias: Whether the last layer has a bias.

    >>> one = LastLayerGradients(torch.tensor([[1.0, -1.0]]), torch.tensor([[2.0]]))
    >>> both = LastLayerGradients(torch.tensor([[0.5, -0.5], [-1.0, 1.0]]), torch.tensor([[1.0], [3.0]]))
    >>> found = most_influential(one, both, 1)
    >>> found.indices.tolist(), found.values.tolist()
    ([[1]], [[-12.0]])
    """
    errors, features = images.errors.double(), images.features.double()

    def influence(block: slice) -> Float64[Tensor, "m b"]:
        products = features @ training.features[block].double().T + has_bias
        return errors @ training.errors[block].double().T * products

    _, indices = largest_by_block(lambda block: influence(block).abs(), len(errors), len(training.errors), num_chosen)
    products = torch.einsum("mf,mkf->mk", features, training.features[indices].double()) + has_bias
    return Influences(indices, torch.einsum("mc,mkc->mk", errors, training.errors[indices].double()) * products)
