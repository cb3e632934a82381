"""Near copies of smooth random pictures: every kind of change is found, and other pictures are not."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image

from firstlight.evaluation import copy_alignment, copy_candidates
from firstlight.evaluation.copy_alignment import aligned_similarity, structure
from firstlight.evaluation.near_copies import find_near_copies
from reference.textured import textured


def by_pillow(image: torch.Tensor, change: str) -> torch.Tensor:
    """Return a changed copy."""
    picture = Image.fromarray(np.ascontiguousarray(image.numpy().transpose(1, 2, 0)))
    if change == "jpeg":
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=50)
        picture = Image.open(stream)
    elif change == "resize":
        picture = picture.resize((48, 48), Image.Resampling.BICUBIC).resize((32, 32), Image.Resampling.BICUBIC)
    elif change == "crop":
        picture = picture.crop((3, 0, 32, 29)).resize((32, 32), Image.Resampling.BICUBIC)
    elif change == "brightness":
        picture = picture.point(lambda value: min(255, round(1.2 * value)))
    return torch.from_numpy(np.asarray(picture).transpose(2, 0, 1).copy())


CHANGES = ("jpeg", "resize", "crop", "brightness", "shift", "mirror", "mirrored shift")


def test_every_changed_copy_is_found_and_no_other_pair() -> None:
    images = textured(60)
    for original, change in enumerate(CHANGES):
        changed = by_pillow(images[original], change)
        if "mirror" in change:
            changed = changed.flip(2)
        if "shift" in change:
            changed = torch.roll(changed, (3, -3), dims=(1, 2))
            changed[:, :3], changed[:, :, -3:] = 128, 0  # what a shift brings in is unknown
        images[40 + original] = changed
    found = find_near_copies(images)
    assert found.pairs.tolist() == [[original, 40 + original] for original in range(len(CHANGES))]
    assert found.is_complete


def test_larger_images_are_compared_at_a_common_size() -> None:
    images = textured(40, side_px=64)
    images[30] = images[20].flip(2)
    assert find_near_copies(images).pairs.tolist() == [[20, 30]]


def test_similarity_equals_a_slow_search_over_shifts() -> None:
    images = textured(4)
    images[1] = torch.roll(images[0], (2, 1), dims=(1, 2))
    pairs = torch.tensor([[0, 1], [2, 3]])
    found = aligned_similarity(images, pairs, torch.zeros(2, dtype=torch.bool))
    for (first, second), similarity in zip(pairs.tolist(), found.tolist(), strict=True):
        a, b = (structure(images[index][None].float() / 255)[0].double().numpy() for index in (first, second))
        best = -1.0
        for down in range(-3, 4):
            for right in range(-3, 4):
                x = a[:, max(0, down) : 32 + min(0, down), max(0, right) : 32 + min(0, right)]
                y = b[:, max(0, -down) : 32 + min(0, -down), max(0, -right) : 32 + min(0, -right)]
                noise = x.size * copy_alignment.NOISE_LEVEL**2
                best = max(best, float((x * y).sum() / (np.sqrt((x**2).sum() * (y**2).sum()) + noise)))
        assert similarity >= best - 1e-5, "crops, and a second look, can only be better"
        assert (similarity > 0.95) == (first == 0)


def test_blank_images_are_no_near_copies_and_cost_no_memory() -> None:
    """They have no structure; 40 of them would give 780 pairs."""
    images = torch.full((40, 3, 32, 32), 255, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.arange(40)
    found = find_near_copies(images)
    assert len(found.pairs) == 0
    assert found.num_candidates <= copy_candidates.MAX_PER_IMAGE * 2 * 40


def test_the_same_picture_in_another_colour_is_another_picture() -> None:
    images = textured(40)
    images[30] = images[3][[1, 2, 0]]
    images[30, 0] = (images[30, 0].int() + 90).clamp(max=255).to(torch.uint8)
    assert find_near_copies(images).pairs.tolist() == []


def test_few_images_are_no_problem() -> None:
    for count in (0, 1, 2):
        assert find_near_copies(textured(4)[:count]).pairs.shape == (0, 2)
