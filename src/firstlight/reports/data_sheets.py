"""The figures of a data set: a row per class, the colour channels, and what augmentation does."""

from __future__ import annotations

import torch

from firstlight.data.batches import Augmentation, Batches, EpochDraws
from firstlight.data.images import ImageSet
from firstlight.data.rng import generator
from firstlight.data.sampler import EpochSampler
from firstlight.errors import UsageError
from firstlight.plots.augmentation import AugmentedImage, augmentation_sheet
from firstlight.plots.channels import colour_channels
from firstlight.plots.classes import class_sheet
from firstlight.plots.figure import Figure
from firstlight.plots.samples import sample_sheet

NUM_SAMPLES = 32
NUM_PER_CLASS = 10
NUM_VIEWS = 11  # with the original two rows of six
FLIPS = {"none": "", "random": "mirrored at random", "alternating": "mirrored every other epoch"}


def random_samples(images: ImageSet, seed: int, count: int = NUM_SAMPLES) -> Figure:
    """Draw images chosen at random, with their labels.

    Args:
        images: Set to choose from.
        seed: Seed of the choice.
        count: Largest number of images.
    """
    chosen = images[torch.randperm(len(images), generator=generator(seed, 0, "samples"))[:count]]
    labels = [images.class_names[label] for label in chosen.labels.tolist()]
    return sample_sheet(chosen.images.numpy(), labels, f"{images.name}: random samples")


def class_rows(images: ImageSet, seed: int = 0, count: int = NUM_PER_CLASS) -> Figure:
    """Draw a row of images for every class, chosen at random.

    Args:
        images: of which set.
        seed: of the choice.
        count: images in a row, at most.

    Raises:
        UsageError: the set is empty.
    """
    _refuse_empty(images)
    draw = generator(seed, 0, "classes")
    rows = []
    for label in range(len(images.class_names)):
        members = (images.labels == label).nonzero().flatten()
        chosen = members[torch.randperm(len(members), generator=draw)[:count]]
        rows.append(images.images[chosen].numpy())
    return class_sheet(rows, images.class_names, f"{images.name}: random samples of each class")


def channel_sheet(images: ImageSet, index: int | None = None, seed: int = 0) -> Figure:
    """Draw one image beside its red, green and blue channels and their histograms.

    Args:
        images: of which set.
        index: id of the image; None chooses one at random.
        seed: of that choice.

    Raises:
        UsageError: no image has that id.
    """
    place = _place_of(images, index, seed)
    return colour_channels(images.images[place].numpy(), f"{_name(images, place)}: its three colour channels")


def augmentation_views(
    images: ImageSet,
    how: Augmentation = Augmentation(),
    index: int | None = None,
    seed: int = 0,
    count: int = NUM_VIEWS,
) -> Figure:
    """Draw one image as a training on these images sees it in its first epochs.

    Args:
        images: the set to train on: an image's views depend on its place in it.
        how: what is done to the images.
        index: id of the image; None chooses one at random.
        seed: of the training, and of that choice.
        count: how many epochs.

    Raises:
        UsageError: no image has that id, or the augmentation does not fit the images' size.
    """
    place = _place_of(images, index, seed)
    views = augmented_images(images, place, how, seed, count)
    title = f"{_name(images, place)}: what training sees of it"
    return augmentation_sheet(images.images[place].numpy(), views, title, f"{_describe(how)}; seed {seed}")


def augmented_images(images: ImageSet, place: int, how: Augmentation, seed: int, count: int) -> list[AugmentedImage]:
    """Return an image as `Batches` yields it in each of the first epochs, with what was drawn for it.

    Args:
        images: the set to train on.
        place: of the image in it.
        how: what is done to the images.
        seed: of the training.
        count: how many epochs.
    """
    sampler = EpochSampler(len(images), batch_size=1, shuffle=False, seed=seed)
    batches = Batches(images, sampler, how)
    half = how.cutout_px // 2
    views = []
    for epoch in range(count):
        sampler.load_state_dict({"epoch": epoch, "next_batch": place})  # go on at this very image
        pixels = next(iter(batches)).images[0]
        draws = EpochDraws.of(len(images), images.size_px, how, seed, epoch)
        view = AugmentedImage(
            image=(pixels * 255).round().to(torch.uint8).numpy(),
            epoch=epoch,
            down_px=int(draws.down[place]),
            right_px=int(draws.right[place]),
            mirrored=how.flip != "none" and bool(draws.mirrored[place]),
            cutout=(int(draws.cut_row[place]) + half, int(draws.cut_column[place]) + half) if how.cutout_px else None,
        )
        views.append(view)
    return views


def _describe(how: Augmentation) -> str:
    steps = [
        f"moved by up to {how.crop_px} px (beyond the line: reflected)" if how.crop_px else "",
        FLIPS[how.flip],
        f"a square of {how.cutout_px} px painted round (row, column)" if how.cutout_px else "",
    ]
    return ", then ".join(filter(None, steps)) or "no augmentation"


def _place_of(images: ImageSet, index: int | None, seed: int) -> int:
    _refuse_empty(images)
    if index is None:
        return int(torch.randint(len(images), (1,), generator=generator(seed, 0, "one image")))
    found = (images.ids == index).nonzero().flatten()
    if not len(found):
        raise UsageError(
            f"{images.name} has no image {index}: they go from {int(images.ids.min())} to {int(images.ids.max())}"
        )
    return int(found[0])


def _name(images: ImageSet, place: int) -> str:
    return f"{images.name} {int(images.ids[place])} ({images.class_names[int(images.labels[place])]})"


def _refuse_empty(images: ImageSet) -> None:
    if not len(images):
        raise UsageError(f"{images.name} holds no image to show")
