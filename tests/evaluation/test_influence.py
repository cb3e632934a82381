"""TracIn of the last layer, beside gradients that autograd computes image by image."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from firstlight.evaluation.influence import LastLayerGradients, most_influential


def gradients(head: nn.Linear, features: torch.Tensor, labels: torch.Tensor, smoothing: float) -> torch.Tensor:
    """The gradient of each image's loss by all parameters of the head, flat."""
    rows = []
    for feature, label in zip(features, labels, strict=True):
        loss = F.cross_entropy(head(feature)[None], label[None], label_smoothing=smoothing)
        rows.append(torch.cat([each.flatten() for each in torch.autograd.grad(loss, list(head.parameters()))]))
    return torch.stack(rows)


@pytest.mark.parametrize("has_bias", [False, True])
def test_influences_are_products_of_gradients(has_bias):
    torch.manual_seed(0)
    head = nn.Linear(5, 3, bias=has_bias).double()
    tests, train = torch.randn(4, 5).double(), torch.randn(40, 5).double()
    test_labels, train_labels = torch.randint(0, 3, (4,)), torch.randint(0, 3, (40,))
    expected = gradients(head, tests, test_labels, 0.0) @ gradients(head, train, train_labels, 0.1).T
    with torch.no_grad():
        images = LastLayerGradients.of(head(tests), tests, test_labels)
        training = LastLayerGradients.of(head(train), train, train_labels, label_smoothing=0.1)
    found = most_influential(images, training, 2, has_bias=has_bias)
    assert found.indices.tolist() == expected.abs().topk(2, dim=1).indices.tolist()
    torch.testing.assert_close(found.values, expected.gather(1, found.indices))
