"""The mean of what was told of every image in the last epoch in which it was seen."""

from __future__ import annotations

import pytest
import torch

from firstlight.data.last_means import LastMeans


def test_vectors_are_averaged_over_an_epoch_and_kept_until_the_image_is_seen_again() -> None:
    told = LastMeans(3, (2,), unseen=-1.0)
    told.add(torch.tensor([0, 1, 0]), torch.tensor([[1.0, 2.0], [5.0, 6.0], [3.0, 8.0]]))
    assert told.means.tolist() == [[-1.0, -1.0]] * 3, "an epoch counts when it is over"
    told.end_epoch()
    assert told.means.tolist() == [[2.0, 5.0], [5.0, 6.0], [-1.0, -1.0]]
    told.add(torch.tensor([1]), torch.tensor([[0.0, 0.0]]))
    told.end_epoch()
    assert told.means.tolist() == [[2.0, 5.0], [0.0, 0.0], [-1.0, -1.0]]


def test_half_precision_is_summed_in_float32() -> None:
    told = LastMeans(1)
    for _ in range(300):
        told.add(torch.tensor([0]), torch.tensor([1.0], dtype=torch.bfloat16))
    told.end_epoch()
    assert told.means.tolist() == [1.0]


@pytest.mark.parametrize("shape", [(), (2,)])
def test_a_kept_state_goes_on_in_the_middle_of_an_epoch(shape: tuple[int, ...]) -> None:
    one = LastMeans(2, shape)
    one.add(torch.tensor([0]), torch.full((1, *shape), 3.0))
    one.end_epoch()
    one.add(torch.tensor([1]), torch.full((1, *shape), 1.0))
    other = LastMeans(2, shape)
    other.load_state_dict(one.state_dict())
    for each in (one, other):
        each.add(torch.tensor([1]), torch.full((1, *shape), 5.0))
        each.end_epoch()
        assert torch.equal(each.means, torch.tensor([3.0, 3.0]).view(2, *[1] * len(shape)).expand(2, *shape))


def test_processes_share_what_each_has_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other process saw image 1 with 5, and image 2 with 1."""
    from_other = iter([torch.tensor([0.0, 5.0, 1.0]), torch.tensor([0.0, 1.0, 1.0])])
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor: tensor.add_(next(from_other)))
    told = LastMeans(3)
    told.add(torch.tensor([0, 1]), torch.tensor([4.0, 2.0]))
    told.end_epoch()
    assert told.means.tolist() == [4.0, 3.5, 1.0]
