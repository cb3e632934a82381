from __future__ import annotations

import itertools

import pytest
import torch

from firstlight.data.rng import generator
from reference.epochs import random_source

PLACES = [(0, 0, "flip"), (0, 1, "flip"), (1, 0, "flip"), (0, 0, "order"), (12, 345, "cut row"), (-1, 0, "flip")]


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_a_draw_is_the_published_function_of_seed_epoch_and_purpose(place: tuple[int, int, str]) -> None:
    drawn = torch.rand(20, generator=generator(*place))
    assert torch.equal(drawn, torch.rand(20, generator=random_source(*place)))


def test_draws_for_different_seeds_epochs_and_purposes_are_unrelated() -> None:
    drawn = {place: torch.rand(1000, generator=generator(*place)) for place in PLACES}
    for one, other in itertools.combinations(drawn.values(), 2):
        assert abs(torch.corrcoef(torch.stack([one, other]))[0, 1]) < 0.15


def test_draws_neither_read_nor_disturb_the_global_generator() -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = torch.rand(5, generator=generator(0, 0, "order"))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(torch.rand(5, generator=generator(0, 0, "order")), first)
