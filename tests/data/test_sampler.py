from __future__ import annotations

import itertools
import json
from collections.abc import Iterable

import pytest
import torch

from firstlight.data.sampler import EpochSampler
from firstlight.errors import UsageError
from reference.epochs import random_source

SIZES = [
    (1, 1),
    (5, 4),
    (7, 7),
    (10, 3),
    (11, 10),
    (13, 20),
    (50, 7),
    (57, 8),
    (64, 64),
    (65, 64),
    (71, 10),
    (4501, 512),
]
RANKS = (1, 2, 3, 7)
SHARED = [(n, size, ranks) for n, size in SIZES for ranks in RANKS if ranks <= min(n, size)]


def make(num_images: int, batch_size: int, rank: int = 0, num_ranks: int = 1, shuffle: bool = True) -> EpochSampler:
    return EpochSampler(num_images, batch_size, shuffle=shuffle, seed=4, rank=rank, num_ranks=num_ranks)


def shares(num_images: int, batch_size: int, num_ranks: int, epoch: int = 0) -> list[list[list[int]]]:
    """Return image indices by rank, then by batch."""
    found = []
    for rank in range(num_ranks):
        sampler = make(num_images, batch_size, rank, num_ranks)
        sampler.set_epoch(epoch)
        batches = [batch.tolist() for batch in sampler]
        assert len(batches) == len(sampler)
        found.append(batches)
    return found


def together(parts: Iterable[list[int]]) -> list[int]:
    return list(itertools.chain.from_iterable(parts))


def cut(num_images: int, batch_size: int, num_ranks: int, epoch: int) -> list[list[int]]:
    """Cut the epoch's order by hand; a last batch with fewer images than ranks is merged into the one before."""
    order = torch.randperm(num_images, generator=random_source(4, epoch, "order")).tolist()
    batches = [order[i : i + batch_size] for i in range(0, num_images, batch_size)]
    if len(batches) > 1 and len(batches[-1]) < num_ranks:
        last = batches.pop()
        batches[-1] = batches[-1] + last
    return batches


@pytest.mark.parametrize(("num_images", "batch_size", "num_ranks"), SHARED)
@pytest.mark.parametrize("epoch", [0, 3])
def test_ranks_share_each_batch_and_together_see_every_image_once(
    num_images: int, batch_size: int, num_ranks: int, epoch: int
) -> None:
    by_rank = shares(num_images, batch_size, num_ranks, epoch)
    assert len({len(batches) for batches in by_rank}) == 1  # otherwise one rank would wait for ever
    by_batch = list(zip(*by_rank, strict=True))
    assert [together(parts) for parts in by_batch] == cut(num_images, batch_size, num_ranks, epoch)
    for parts in by_batch:
        sizes = [len(part) for part in parts]
        assert min(sizes) >= 1
        assert max(sizes) - min(sizes) <= 1
    assert sorted(together(together(by_rank))) == list(range(num_images))


@pytest.mark.parametrize(("ranks_before", "ranks_after"), [(1, 1), (1, 3), (3, 1), (2, 7)])
def test_a_saved_state_continues_with_the_same_batches_on_any_number_of_ranks(
    ranks_before: int, ranks_after: int
) -> None:
    num_images, batch_size, epoch = 63, 8, 2  # the last batch has 7 images, at least one for every rank
    whole = cut(num_images, batch_size, 1, epoch)
    for num_done in range(len(whole) + 1):
        before = make(num_images, batch_size, 0, ranks_before)
        before.set_epoch(epoch)
        iterator = iter(before)
        for _ in range(num_done):
            next(iterator)
        state = json.loads(json.dumps(before.state_dict()))

        rest: list[list[list[int]]] = []
        for rank in range(ranks_after):
            after = make(num_images, batch_size, rank, ranks_after)
            after.load_state_dict(state)
            after.set_epoch(epoch)  # as Lightning does after loading; the position must not be lost
            rest.append([batch.tolist() for batch in after])
            after.set_epoch(epoch + 1)
            assert len([*after]) == len(after)  # the next epoch is complete
        assert [together(parts) for parts in zip(*rest, strict=True)] == whole[num_done:]


def test_an_abandoned_iteration_does_not_shorten_the_next() -> None:
    sampler = make(10, 3, shuffle=False)
    for _ in zip(range(2), sampler, strict=False):
        pass
    assert [batch.tolist() for batch in sampler] == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
    assert len([*sampler]) == 4


def test_a_loaded_position_is_used_once() -> None:
    sampler = make(10, 3, shuffle=False)
    sampler.load_state_dict({"epoch": 0, "next_batch": 3})
    assert [batch.tolist() for batch in sampler] == [[9]]
    assert len([*sampler]) == 4


def test_the_epoch_may_be_set_after_the_iterator_was_created() -> None:
    sampler = make(20, 6)
    iterator = iter(sampler)  # Lightning creates the iterator before it calls set_epoch
    sampler.set_epoch(5)
    assert [batch.tolist() for batch in iterator] == cut(20, 6, 1, epoch=5)


def test_each_epoch_has_its_own_order_and_always_the_same() -> None:
    orders = [tuple(together(shares(50, 50, 1, epoch)[0])) for epoch in (0, 1, 2, 1)]
    assert len(set(orders)) == 3
    assert orders[1] == orders[3]
    other_seed = EpochSampler(50, 50, shuffle=True, seed=5)
    assert tuple(next(iter(other_seed)).tolist()) != orders[0]


def test_without_shuffling_the_order_of_the_set_is_kept_in_every_epoch() -> None:
    sampler = make(7, 3, shuffle=False)
    for epoch in (0, 1):
        sampler.set_epoch(epoch)
        assert [batch.tolist() for batch in sampler] == [[0, 1, 2], [3, 4, 5], [6]]


def pruned(share: float, rank: int = 0, num_ranks: int = 1, num_images: int = 50) -> EpochSampler:
    """A sampler with losses equal to the image indices in its first epoch."""
    sampler = EpochSampler(num_images, 8, shuffle=True, seed=4, rank=rank, num_ranks=num_ranks, hardest_share=share)
    assert sampler.last_losses is not None
    sampler.last_losses.add(torch.arange(num_images), torch.arange(num_images).float())
    return sampler


@pytest.mark.parametrize(("share", "num_rounds"), [(0.98, 2), (0.6, 2), (0.5, 2), (0.4, 3), (0.1, 10), (0.001, 50)])
def test_later_epochs_contain_only_the_hardest_images(share: float, num_rounds: int) -> None:
    sampler = pruned(share)
    assert sampler.num_rounds == num_rounds
    assert together([batch.tolist() for batch in sampler]) == together(cut(50, 8, 1, 0))
    num_hardest = max(1, round(50 * share))
    orders = []
    for epoch in (1, 2):
        sampler.set_epoch(epoch)
        visits = torch.cat([*sampler])
        assert len(visits) == 50
        assert len(set(visits.tolist())) == 50, "a second visit is told from the first"
        images, rounds = visits % 50, visits // 50
        assert set(images.tolist()) == set(range(50 - num_hardest, 50))
        assert rounds.tolist() == [place // num_hardest for place in range(50)], "all of them before any comes again"
        orders.append(images.tolist())
    assert orders[0] != orders[1] or num_hardest == 1
    if num_hardest > 5:
        assert orders[0][:num_hardest][: 50 - num_hardest] != orders[0][num_hardest:]


def test_a_pruned_epoch_continues_from_a_saved_state_on_any_number_of_ranks() -> None:
    whole = pruned(0.6)
    whole.set_epoch(1)
    expected = [batch.tolist() for batch in whole]
    before = pruned(0.6)
    before.set_epoch(1)
    iterator = iter(before)
    for _ in range(3):
        next(iterator)
    assert before.last_losses is not None
    before.last_losses.add(torch.tensor([49]), torch.tensor([-1.0]))  # takes effect in the next epoch
    for ranks in (1, 2):
        parts = []
        for rank in range(ranks):
            after = EpochSampler(50, 8, shuffle=True, seed=4, rank=rank, num_ranks=ranks, hardest_share=0.6)
            after.load_state_dict(before.state_dict())
            after.set_epoch(1)
            parts.append([batch.tolist() for batch in after])
            after.set_epoch(2)
            assert 49 not in torch.cat([*after]) % 50
        assert [together(each) for each in zip(*parts, strict=True)] == expected[3:]


def test_without_pruning_no_losses_are_stored() -> None:
    sampler = make(10, 3)
    assert sampler.last_losses is None
    assert sampler.num_rounds == 1
    assert sampler.state_dict() == {"epoch": 0, "next_batch": 0}


@pytest.mark.parametrize(("num_images", "batch_size", "num_ranks"), [(10, 2, 3), (2, 8, 3), (0, 1, 1), (5, 0, 1)])
def test_fewer_images_than_ranks_are_refused(num_images: int, batch_size: int, num_ranks: int) -> None:
    with pytest.raises(UsageError, match=r"device") as refusal:
        make(num_images, batch_size, 0, num_ranks)
    assert len(str(refusal.value).splitlines()) == 1
