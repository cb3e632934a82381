from __future__ import annotations

import torch
from torchmetrics.functional.classification import multiclass_confusion_matrix

from firstlight.evaluation.confusion import confusion


def test_the_matrix_equals_torchmetrics() -> None:
    draw = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 6, (500,), generator=draw)
    predicted = torch.randint(0, 6, (500,), generator=draw)
    found = confusion(labels, predicted, 7)
    assert torch.equal(found, multiclass_confusion_matrix(predicted, labels, 7))
    assert found[6].sum() == 0, "a class of which there is no image has a row all the same"
