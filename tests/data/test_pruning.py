"""The images with the largest last losses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from firstlight.data.pruning import LastLosses


def told(rows: list[tuple[int, float]], losses: LastLosses) -> LastLosses:
    places, values = zip(*rows, strict=True)
    losses.add(torch.tensor(places), torch.tensor(values))
    return losses


def test_the_hardest_are_those_of_the_last_epoch_in_which_each_was_seen() -> None:
    losses = LastLosses(5)
    told([(0, 5.0), (1, 1.0), (2, 3.0), (3, 2.0), (4, 4.0)], losses).end_epoch()
    assert losses.hardest(3).tolist() == [0, 2, 4]
    told([(0, 0.5), (2, 6.0)], losses)
    assert losses.hardest(3).tolist() == [0, 2, 4], "an epoch counts when it is over"
    losses.end_epoch()
    assert losses.hardest(3).tolist() == [2, 3, 4]
    assert losses.hardest(4).tolist() == [1, 2, 3, 4]


def test_the_loss_of_a_repeated_image_is_the_mean() -> None:
    losses = LastLosses(3)
    told([(0, 3.0), (1, 0.0), (1, 7.0), (2, 3.2)], losses)
    told([(2, 3.2), (0, 3.0)], losses)
    losses.end_epoch()
    assert losses.hardest(1).tolist() == [1]
    assert losses.hardest(2).tolist() == [1, 2]


def test_unseen_images_come_first_and_ties_keep_the_order_of_the_set() -> None:
    losses = told([(1, 9.0), (2, 9.0), (4, 9.0)], LastLosses(6))
    losses.end_epoch()
    assert losses.hardest(3).tolist() == [0, 3, 5]
    assert losses.hardest(5).tolist() == [0, 1, 2, 3, 5]


@pytest.mark.parametrize("count", [1, 20, 99, 100])
def test_against_numpy(count: int) -> None:
    values = torch.randn(100, generator=torch.Generator().manual_seed(0)).abs()
    losses = LastLosses(100)
    losses.add(torch.arange(100), values)
    losses.end_epoch()
    assert losses.hardest(count).tolist() == sorted(np.argsort(-values.numpy())[:count].tolist())


def test_half_precision_is_summed_in_float32() -> None:
    losses = LastLosses(2)
    for _ in range(300):
        losses.add(torch.tensor([0]), torch.tensor([1.0], dtype=torch.bfloat16))
    losses.add(torch.tensor([1]), torch.tensor([0.99], dtype=torch.bfloat16))
    losses.end_epoch()
    assert losses.hardest(1).tolist() == [0]


def test_a_loaded_state_continues_in_the_middle_of_an_epoch() -> None:
    one = told([(0, 1.0), (1, 2.0), (2, 3.0)], LastLosses(3))
    one.end_epoch()
    told([(0, 8.0)], one)
    other = LastLosses(3)
    other.load_state_dict(one.state_dict())
    for each in (one, other):
        told([(0, 2.0), (2, 0.5)], each).end_epoch()
        assert each.hardest(1).tolist() == [0]
        assert each.hardest(2).tolist() == [0, 1]


def test_processes_share_their_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other process has a loss of 5 for image 1 and of 1 for image 2."""
    from_other = iter([torch.tensor([0.0, 5.0, 1.0]), torch.tensor([0.0, 1.0, 1.0])])
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor: tensor.add_(next(from_other)))
    losses = told([(0, 4.0), (1, 2.0)], LastLosses(3))
    losses.end_epoch()  # image 1: the mean of 2 and 5
    assert losses.hardest(1).tolist() == [0]
    assert losses.hardest(2).tolist() == [0, 1]
