from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from firstlight.evaluation.views import Views, averaged_logits, margins, views_of


def views_by_loop(image: np.ndarray) -> list[tuple[float, np.ndarray]]:
    """The six views of one image [3 h w], written out with numpy's own padding."""
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1)), mode="reflect")
    up_left, down_right = padded[:, :-2, :-2], padded[:, 2:, 2:]
    weighted = [(0.25, image), (0.125, up_left), (0.125, down_right)]
    return [pair for weight, view in weighted for pair in ((weight, view), (weight, view[:, :, ::-1]))]


def test_the_six_views_are_those_of_a_slow_twin() -> None:
    images = torch.rand(3, 3, 6, 9)
    found = list(views_of(images, "flip_shift"))
    for index, image in enumerate(images):
        mine = sorted((weight, view[index].numpy().tobytes()) for weight, view in found)
        expected = sorted(
            (weight, np.ascontiguousarray(view).tobytes()) for weight, view in views_by_loop(image.numpy())
        )
        assert mine == expected


@pytest.mark.parametrize(("how", "num_views"), [("single", 1), ("flip", 2), ("flip_shift", 6)])
def test_the_weights_add_up_to_one_and_each_view_costs_one_pass(how: Views, num_views: int) -> None:
    passes: list[Tensor] = []

    def constant(images: Tensor) -> Tensor:
        passes.append(images)
        return torch.tensor([[3.0, -1.0]]).repeat(len(images), 1)

    averaged = averaged_logits(constant, torch.rand(2, 3, 8, 8), how)
    assert len(passes) == num_views
    torch.testing.assert_close(averaged, torch.tensor([[3.0, -1.0]] * 2))


def test_a_single_view_is_the_network_itself() -> None:
    head = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 64, 5))
    images = torch.rand(4, 3, 8, 8)
    assert torch.equal(averaged_logits(head, images, "single"), head(images))


def test_flipped_images_get_the_same_logits() -> None:
    head = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 64, 5))
    images = torch.rand(4, 3, 8, 8)
    once, again = averaged_logits(head, images, "flip"), averaged_logits(head, images.flip(3), "flip")
    torch.testing.assert_close(once, again)
    assert not torch.allclose(head(images), head(images.flip(3)))


def test_logits_in_half_precision_are_averaged_in_float32() -> None:
    def half(images: Tensor) -> Tensor:
        return images[:, 0, 0, :2].to(torch.bfloat16)

    assert averaged_logits(half, torch.rand(1, 3, 8, 8), "flip_shift").dtype == torch.float32


def test_logits_that_are_known_save_their_pass_and_change_nothing() -> None:
    head = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 64, 5))
    passes: list[Tensor] = []

    def watched(images: Tensor) -> Tensor:
        passes.append(images)
        return head(images)

    images = torch.rand(4, 3, 8, 8)
    found = averaged_logits(watched, images, "flip_shift", single=head(images))
    assert len(passes) == 5
    assert torch.equal(found, averaged_logits(head, images, "flip_shift"))


def test_margins_by_hand() -> None:
    probabilities = torch.tensor([[0.7, 0.2, 0.1], [0.25, 0.25, 0.5], [0.4, 0.4, 0.2]])
    torch.testing.assert_close(margins(probabilities.log()), torch.tensor([0.5, 0.25, 0.0]))


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("margin", [0.0, 0.05, 0.1, 0.999, 1.0])
def test_only_images_within_the_margin_are_seen_again(margin: float, known: bool) -> None:
    torch.manual_seed(0)
    head = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 64, 5))
    passes: list[int] = []

    def watched(images: Tensor) -> Tensor:
        passes.append(len(images))
        return head(images)

    images = torch.rand(40, 3, 8, 8)
    single = head(images)
    found = averaged_logits(watched, images, "flip_shift", single=single if known else None, margin=margin)
    whole = averaged_logits(head, images, "flip_shift")
    for index, image in enumerate(images):  # one image at a time, by hand
        high, low = sorted(head(image[None])[0].softmax(0).tolist())[:-3:-1]
        expected = whole[index] if high - low <= margin else single[index]
        torch.testing.assert_close(found[index], expected)
    num_unsure = int((margins(single) <= margin).sum())
    if margin in (0.05, 0.1):
        assert 0 < num_unsure < 40
    again = [num_unsure] * 5 if num_unsure and margin < 1 else [40] * 5 if margin == 1 else []
    assert passes == ([] if known else [40]) + again
