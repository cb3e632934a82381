"""The figures of a data set: its exact pixels and their augmentation."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from firstlight.data.batches import Augmentation, Batches
from firstlight.data.images import ImageSet
from firstlight.data.sampler import EpochSampler
from firstlight.errors import UsageError
from firstlight.plots.figure import Figure
from firstlight.reports.data_sheets import (
    augmentation_views,
    augmented_images,
    channel_sheet,
    class_rows,
    random_samples,
)
from reference.augmentation import cut_image, mirrored_image, shifted_image
from reference.tiny import CLASS_NAMES, tiny_split

STRONG = Augmentation(2, "random", trivial_augment=True, erasing=0.8, mixup=0.4, cutmix=1.0)
SETTINGS = [Augmentation(), Augmentation(2, "alternating", 5), Augmentation(0, "none", 4), Augmentation(3, "none")]


def pictures(figure: Figure) -> list[np.ndarray]:
    return [np.asarray(image.get_array()).transpose(2, 0, 1) for axes in figure.axes for image in axes.images]


@pytest.mark.parametrize("how", [*SETTINGS, STRONG], ids=str)
def test_views_equal_the_images_of_a_training(how: Augmentation) -> None:
    images = tiny_split("train")
    sampler = EpochSampler(len(images), batch_size=50, shuffle=True, seed=3)
    batches = Batches(images, sampler, how)
    wanted = [0, 17, len(images) - 1]
    views = {place: augmented_images(images, place, how, seed=3, count=4) for place in wanted}
    for epoch in range(4):
        sampler.set_epoch(epoch)
        pixels = {
            number: image for batch in batches for number, image in zip(batch.ids.tolist(), batch.images, strict=True)
        }
        for place in wanted:
            assert views[place][epoch].epoch == epoch
            shown = views[place][epoch].image.astype(np.float32) / np.float32(255)
            np.testing.assert_allclose(shown, pixels[place], atol=0.502 / 255 if how.is_mixing else 0)


@pytest.mark.parametrize("how", SETTINGS, ids=str)
def test_the_description_of_a_view_reproduces_it(how: Augmentation) -> None:
    images = tiny_split("train")
    original = images.images[5].numpy()
    fill = [round(float(images.images[:, channel].double().mean())) for channel in range(3)]
    views = augmented_images(images, 5, how, seed=0, count=8)
    for view in views:
        replayed = shifted_image(original, view.down_px, view.right_px)
        if view.mirrored:
            replayed = mirrored_image(replayed)
        if view.cutout is not None:
            top, left = (centre - how.cutout_px // 2 for centre in view.cutout)
            replayed = cut_image(replayed, top, left, how.cutout_px, fill)
        assert np.array_equal(view.image, replayed)
    assert any(view.mirrored for view in views) == (how.flip != "none")
    assert all((view.cutout is None) == (how.cutout_px == 0) for view in views)


def test_strong_augmentation_is_described() -> None:
    images = tiny_split("train")
    views = augmented_images(images, 5, STRONG, seed=0, count=40)
    words = [word for view in views for word in view.descriptions()]
    for pattern in (
        r"(rotate|shear x|brightness) [+-]\d+ %",
        r"erased \d+x\d+ px",
        rf"\d+ % ({'|'.join(CLASS_NAMES)})",
    ):
        assert any(re.fullmatch(pattern, word) for word in words), pattern
    assert (
        augmentation_views(images, STRONG, index=9, count=1)
        .get_supxlabel()
        .endswith("then TrivialAugment, then random erasing, then mixed with another image by mixup or CutMix; seed 0")
    )


def test_the_sheet_of_views_shows_the_original_and_each_epoch() -> None:
    images = tiny_split("train")
    figure = augmentation_views(images, SETTINGS[1], index=9, seed=4, count=3)
    expected = [images.images[9].numpy(), *(view.image for view in augmented_images(images, 9, SETTINGS[1], 4, 3))]
    assert np.array_equal(np.stack(pictures(figure)), np.stack(expected))
    assert figure.get_suptitle() == "tiny train 9 (green): augmented images of 3 epochs"
    assert figure.get_supxlabel() == (
        "moved by up to 2 px (reflected beyond the white line), then mirrored every other epoch, "
        "then a square of 5 px cut out around (row, column); seed 4"
    )


def test_every_row_shows_different_images_of_its_class() -> None:
    images = tiny_split("train")
    drawn = pictures(class_rows(images, seed=0, count=6))
    places = [
        [int(place) for place in (images.images == torch.from_numpy(each)).flatten(1).all(1).nonzero()]
        for each in drawn
    ]
    assert all(len(found) == 1 for found in places)
    assert len({found[0] for found in places}) == 4 * 6
    assert [int(images.labels[found[0]]) for found in places] == [0] * 6 + [1] * 6 + [2] * 6 + [3] * 6


def test_a_class_with_few_images_or_none_has_a_short_row() -> None:
    images = tiny_split("train")
    labels = torch.tensor([0] * 5 + [3])
    (axes,) = class_rows(ImageSet(images.images[:6], labels, CLASS_NAMES), count=4).axes
    assert len(axes.images) == 4 + 0 + 0 + 1
    assert [text.get_text() for text in axes.get_yticklabels()] == list(CLASS_NAMES)


def test_an_image_is_named_by_its_id() -> None:
    some = tiny_split("train")[torch.tensor([40, 7, 21])]
    figure = channel_sheet(some, index=7)
    assert figure.get_suptitle() == "tiny train 7 (grey): its three colour channels"
    assert np.array_equal(pictures_of_colour(figure)[0], some.images[1].numpy())
    with pytest.raises(UsageError, match="tiny train has no image 8: the indices range from 7 to 40"):
        channel_sheet(some, index=8)


def pictures_of_colour(figure: Figure) -> list[np.ndarray]:
    found = [np.asarray(image.get_array()) for axes in figure.axes for image in axes.images]
    return [each.transpose(2, 0, 1) for each in found if each.ndim == 3]


@pytest.mark.parametrize("draw", [class_rows, channel_sheet, augmentation_views])
def test_the_same_seed_draws_the_same_figure(draw: object) -> None:
    images = tiny_split("test")
    one, again, other = (draw(images, seed=seed)._repr_png_() for seed in (1, 1, 2))  # type: ignore[operator]
    assert one == again
    assert one != other


def test_invalid_requests_are_refused() -> None:
    images = tiny_split("test")
    with pytest.raises(UsageError, match="crop_px 16 must be smaller than the images"):
        augmentation_views(images, Augmentation(crop_px=16))
    with pytest.raises(UsageError, match="holds no image"):
        channel_sheet(images[:0])
    with pytest.raises(UsageError, match="holds no image"):
        class_rows(images[:0])


def drawn(figure: Figure) -> list[tuple[str, bytes]]:
    """Label and pixels of every image on the figure."""
    (axes,) = figure.axes
    pairs = zip(axes.texts, axes.images, strict=True)
    return [(text.get_text(), np.asarray(image.get_array()).tobytes()) for text, image in pairs]


def test_samples_are_different_images_with_their_own_labels() -> None:
    images = tiny_split("train")
    known = {
        image.permute(1, 2, 0).numpy().tobytes(): images.class_names[label]
        for image, label in zip(images.images, images.labels.tolist(), strict=True)
    }
    chosen = drawn(random_samples(images, seed=0, count=6))
    assert [known[pixels] for _, pixels in chosen] == [label for label, _ in chosen]
    assert len({pixels for _, pixels in chosen}) == 6


def test_the_same_seed_draws_the_same_samples_and_another_seed_others() -> None:
    images = tiny_split("train")
    first, again, other = (drawn(random_samples(images, seed, count=4)) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_all_images_of_a_small_set_are_drawn() -> None:
    images = tiny_split("test")[:3]
    assert len(drawn(random_samples(images, seed=0))) == 3
