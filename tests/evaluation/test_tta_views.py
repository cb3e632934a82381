"""Test-time views, and logits averaged over them, against one image and one view at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from firstlight.evaluation.tta_views import TTA_VIEWS, View, Views, averaged_logits, margins

NUM_VIEWS: dict[Views, int] = {"single": 1, "flip": 2, "flip_shift": 6, "flip_star": 34}


def shifts_of(kind: Views) -> dict[tuple[int, int, bool], float]:
    """Return weights by shift and mirroring; fail if a view occurs twice."""
    views = [view for round_views in TTA_VIEWS[kind] for view in round_views]
    found = {(view.down_px, view.right_px, view.is_mirrored): view.weight for view in views}
    assert len(found) == len(views)
    return found


def linear_head(num_classes: int = 5) -> torch.nn.Sequential:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 64, num_classes))


def averaged_by_hand(head: torch.nn.Module, image: Tensor, kind: Views, margin: float) -> Tensor:
    """Return the logits of one image [3 h w] as the docstring defines them, one view at a time."""
    total, weight, mean = torch.zeros(5), 0.0, torch.zeros(5)
    for number, round_views in enumerate(TTA_VIEWS[kind]):
        high, low = sorted(mean.softmax(0).tolist())[:-3:-1]
        if number and margin < 1 and high - low > margin * (len(TTA_VIEWS[kind]) - number) / (len(TTA_VIEWS[kind]) - 1):
            break
        for view in round_views:
            total = total + view.weight * head(torch.from_numpy(moved(image.numpy(), view))[None])[0]
            weight += view.weight
        mean = total / weight
    return mean


def moved(image: np.ndarray, view: View) -> np.ndarray:
    """Return the view of one image [3 h w] with numpy's padding."""
    _, height, width = image.shape
    padded = np.pad(image, ((0, 0), (2, 2), (2, 2)), mode="reflect")
    top, left = 2 - view.down_px, 2 - view.right_px
    cut = padded[:, top : top + height, left : left + width]
    return np.ascontiguousarray(cut[:, :, ::-1] if view.is_mirrored else cut)


def test_the_six_views_are_those_of_the_speed_record() -> None:
    assert shifts_of("flip_shift") == {
        (down, down, is_mirrored): 1.0 if down else 2.0 for down in (-1, 0, 1) for is_mirrored in (False, True)
    }


def test_the_star_has_one_and_two_pixels_in_eight_directions_each_with_its_mirror_image() -> None:
    directions = [(0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1)]
    shifts = [(0, 0), *((px * down, px * right) for px in (1, 2) for down, right in directions)]
    assert shifts_of("flip_star") == {(*shift, mirrored): 1.0 for shift in shifts for mirrored in (False, True)}


@pytest.mark.parametrize("kind", NUM_VIEWS)
def test_views_are_those_of_a_slow_twin(kind: Views) -> None:
    images = torch.rand(3, 3, 6, 9)
    for view in (view for round_views in TTA_VIEWS[kind] for view in round_views):
        for image, found in zip(images, view.apply(images), strict=True):
            np.testing.assert_array_equal(found.numpy(), moved(image.numpy(), view))


def test_a_view_shifts_the_image_as_described() -> None:
    image = torch.zeros(1, 3, 7, 7)
    image[:, :, 3, 3] = 1
    assert View(1.0, down_px=1, right_px=-2).apply(image)[0, 0].nonzero().tolist() == [[4, 1]]


@pytest.mark.parametrize(("kind", "num_views"), NUM_VIEWS.items())
def test_each_view_costs_one_pass_and_equal_logits_stay_as_they_are(kind: Views, num_views: int) -> None:
    passes: list[Tensor] = []

    def constant(images: Tensor) -> Tensor:
        passes.append(images)
        return torch.tensor([[3.0, -1.0]]).repeat(len(images), 1)

    averaged = averaged_logits(constant, torch.rand(2, 3, 8, 8), kind)
    assert [len(each) for each in passes] == [2] * num_views
    torch.testing.assert_close(averaged, torch.tensor([[3.0, -1.0]] * 2))


def test_a_single_view_is_the_network_itself() -> None:
    head, images = linear_head(), torch.rand(4, 3, 8, 8)
    assert torch.equal(averaged_logits(head, images, "single"), head(images))


@pytest.mark.parametrize("kind", ["flip", "flip_star"])
def test_flipped_images_get_the_same_logits(kind: Views) -> None:
    head, images = linear_head(), torch.rand(4, 3, 8, 8)
    once, again = averaged_logits(head, images, kind), averaged_logits(head, images.flip(3), kind)
    torch.testing.assert_close(once, again)
    assert not torch.allclose(head(images), head(images.flip(3)))


def test_logits_in_half_precision_are_averaged_in_float32() -> None:
    def half(images: Tensor) -> Tensor:
        return images[:, 0, 0, :2].to(torch.bfloat16)

    assert averaged_logits(half, torch.rand(1, 3, 8, 8), "flip_shift").dtype == torch.float32


def test_known_logits_save_a_pass_and_are_not_changed() -> None:
    head, images = linear_head(), torch.rand(4, 3, 8, 8)
    passes: list[Tensor] = []

    def watched(images: Tensor) -> Tensor:
        passes.append(images)
        return head(images)

    single = head(images)
    found = averaged_logits(watched, images, "flip_shift", single=single)
    assert len(passes) == 5
    assert torch.equal(found, averaged_logits(head, images, "flip_shift"))
    assert torch.equal(single, head(images))


def test_margins_by_hand() -> None:
    probabilities = torch.tensor([[0.7, 0.2, 0.1], [0.25, 0.25, 0.5], [0.4, 0.4, 0.2]])
    torch.testing.assert_close(margins(probabilities.log()), torch.tensor([0.5, 0.25, 0.0]))


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("margin", [0.0, 0.05, 0.1, 0.999, 1.0])
def test_only_images_within_the_margin_get_more_views(margin: float, known: bool) -> None:
    head, images = linear_head(), torch.rand(40, 3, 8, 8)
    passes: list[int] = []

    def watched(images: Tensor) -> Tensor:
        passes.append(len(images))
        return head(images)

    single = head(images)
    found = averaged_logits(watched, images, "flip", single=single if known else None, margin=margin)
    whole = averaged_logits(head, images, "flip")
    for index, image in enumerate(images):  # one image at a time, by hand
        high, low = sorted(head(image[None])[0].softmax(0).tolist())[:-3:-1]
        expected = whole[index] if high - low <= margin else single[index]
        torch.testing.assert_close(found[index], expected)
    num_unsure = int((margins(single) <= margin).sum())
    if margin in (0.05, 0.1):
        assert 0 < num_unsure < 40
    assert sum(passes) == (0 if known else 40) + num_unsure
    assert max(passes, default=0) <= 40


@pytest.mark.parametrize("kind", ["flip", "flip_shift", "flip_star"])
@pytest.mark.parametrize("margin", [0.0, 0.03, 0.1, 0.3, 0.999, 1.0])
def test_images_get_more_views_while_they_are_within_the_margin(kind: Views, margin: float) -> None:
    head, images = linear_head(), torch.rand(40, 3, 8, 8)
    found = averaged_logits(head, images, kind, single=head(images), margin=margin)
    with torch.no_grad():
        expected = torch.stack([averaged_by_hand(head, image, kind, margin) for image in images])
    torch.testing.assert_close(found, expected)
    num_changed = int(((expected - head(images)).abs().amax(dim=1) > 1e-4).sum())
    assert (0 < num_changed < 40) == (margin in (0.03, 0.1)), num_changed


def test_the_views_of_few_images_share_a_pass() -> None:
    passes: list[int] = []

    def only_ten_unsure(images: Tensor) -> Tensor:
        passes.append(len(images))
        return torch.stack([20 * (images[:, 0, 4, 4] > 0.5), images[:, 0, 4, 4] * 0.01], dim=1)

    images = torch.ones(100, 3, 8, 8)
    images[:10] = 0
    averaged_logits(only_ten_unsure, images, "flip_star", margin=0.5)
    assert passes == [100, 10, 80, 100, 100, 40]
