from __future__ import annotations

import pytest
import torch

from firstlight.attribution.perturbation import (
    area_under,
    blurred,
    deletion,
    importance_ranks,
    insertion,
    mean_colour,
    random_maps,
)
from reference.deletion_by_loop import area, deletion_curve

CLASSES = torch.tensor([0, 1, 1])


@pytest.fixture
def small_images():
    return torch.rand(3, 3, 4, 6, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("num_steps", [1, 5, 24])
def test_equals_a_loop_over_pixels(tiny, small_images, num_steps):
    maps, grey = random_maps(3, (4, 6)), mean_colour(small_images)
    deleted = deletion(tiny, small_images, maps, CLASSES, grey, num_steps=num_steps)
    inserted = insertion(tiny, small_images, maps, CLASSES, grey, num_steps=num_steps)
    for n in range(3):
        label = int(CLASSES[n])
        down = deletion_curve(tiny, small_images[n], maps[n], label, grey[n], num_steps)
        up = deletion_curve(tiny, grey[n], maps[n], label, small_images[n], num_steps)
        assert deleted[n].tolist() == pytest.approx(down, abs=1e-6)
        assert inserted[n].tolist() == pytest.approx(up, abs=1e-6)
        assert float(area_under(deleted)[n]) == pytest.approx(area(down), abs=1e-6)


def test_ends_are_the_image_and_its_replacement(tiny, small_images):
    grey, maps = mean_colour(small_images), random_maps(3, (4, 6))
    whole, gone = (tiny(each).softmax(dim=1).gather(1, CLASSES[:, None])[:, 0] for each in (small_images, grey))
    deleted, inserted = (
        deletion(tiny, small_images, maps, CLASSES, grey),
        insertion(tiny, small_images, maps, CLASSES, grey),
    )
    torch.testing.assert_close(deleted[:, 0], whole.detach())
    torch.testing.assert_close(deleted[:, -1], gone.detach())
    torch.testing.assert_close(inserted[:, [0, -1]], deleted[:, [-1, 0]])


def test_many_batches_equal_one(tiny, small_images, monkeypatch):
    setting = (tiny, small_images, random_maps(3, (4, 6)), CLASSES, blurred(small_images))
    whole = deletion(*setting)
    monkeypatch.setattr("firstlight.attribution.perturbation.BATCH_SIZE", 2)
    torch.testing.assert_close(deletion(*setting), whole)


def test_leaves_the_network_as_it_was(network, images):
    network.train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    deletion(network, images, random_maps(5, (32, 32)), torch.arange(5), mean_colour(images), num_steps=2)
    assert all(module.training for module in network.modules())
    assert all(tensor.equal(before[name]) for name, tensor in network.state_dict().items())


def test_ties_are_replaced_in_a_fixed_random_order():
    ranks = importance_ranks(torch.zeros(2, 8, 8))
    assert ranks[0].flatten().sort().values.equal(torch.arange(64))
    assert not ranks[0].flatten().equal(torch.arange(64))
    assert ranks[0].equal(ranks[1])
    assert ranks.equal(importance_ranks(torch.zeros(2, 8, 8)))


def test_blur_keeps_the_mean_of_an_even_image_and_flattens_the_rest():
    even = torch.full((1, 3, 32, 32), 0.3)
    torch.testing.assert_close(blurred(even), even)
    noise = torch.rand(1, 3, 32, 32)
    assert blurred(noise).std() < 0.2 * noise.std()


def test_blur_of_a_dot_is_the_gaussian():
    dot = torch.zeros(1, 3, 33, 33)
    dot[:, :, 16, 16] = 1.0
    found = blurred(dot, sigma_px=2.0)[0, 0]
    assert float(found[16, 18] / found[16, 16]) == pytest.approx(2.718281828 ** (-0.5), rel=1e-4)
    assert float(found[18, 18] / found[16, 16]) == pytest.approx(2.718281828 ** (-1.0), rel=1e-4)


def test_mean_colour_takes_a_given_one():
    found = mean_colour(torch.rand(2, 3, 2, 2), torch.tensor([0.1, 0.2, 0.3]))
    torch.testing.assert_close(found[1, :, 0, 1], torch.tensor([0.1, 0.2, 0.3]))
