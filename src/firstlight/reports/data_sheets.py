"""Figures of a data set: random samples, images of each class, colour channels, augmented images."""

from __future__ import annotations

import torch

from firstlight.augment.trivial import OPERATIONS
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
NUM_VIEWS = 11  # with the original image, two rows of six
FLIPS = {"none": "", "random": "mirrored at random", "alternating": "mirrored every other epoch"}


def random_samples(images: ImageSet, seed: int, count: int = NUM_SAMPLES) -> Figure:
    """Draw images chosen at random, with their labels.

    Args:
        images: Image set to choose from.
        seed: Seed of the random choice.
        count: Largest number of images.
    """
    chosen = images[torch.randperm(len(images), generator=generator(seed, 0, "samples"))[:count]]
    labels = [images.class_names[label] for label in chosen.labels.tolist()]
    return sample_sheet(chosen.images.numpy(), labels, f"{images.name}: random samples")


def class_rows(images: ImageSet, seed: int = 0, count: int = NUM_PER_CLASS) -> Figure:
    """Draw a row of images chosen at random for each class.

    Args:
        images: Image set to choose from.
        seed: Seed of the random choice.
        count: Largest number of images in a row.

    Raises:
        UsageError: The set is empty.
    """
    _require_images(images)
    rng = generator(seed, 0, "classes")
    rows = []
    for label in range(len(images.class_names)):
        members = (images.labels == label).nonzero().flatten()
        chosen = members[torch.randperm(len(members), generator=rng)[:count]]
        rows.append(images[chosen].images.numpy())
    return class_sheet(rows, images.class_names, f"{images.name}: random samples of each class")


def channel_sheet(images: ImageSet, index: int | None = None, seed: int = 0) -> Figure:
    """Draw one image beside its red, green and blue channels and their histograms.

    Args:
        images: Image set to choose from.
        index: Id of the image; None chooses one at random.
        seed: Seed of the random choice.

    Raises:
        UsageError: No image has this id, or the set is empty.
    """
    row = _choose_row(images, index, seed)
    return colour_channels(images.image_at(row).numpy(), f"{_name(images, row)}: its three colour channels")


def augmentation_views(
    images: ImageSet,
    augmentation: Augmentation = Augmentation(),
    index: int | None = None,
    seed: int = 0,
    count: int = NUM_VIEWS,
) -> Figure:
    """Draw one image as training augments it in the first epochs.

    Args:
        images: Training set. The augmentation of an image depends on its row in this set.
        augmentation: Augmentation of the images.
        index: Id of the image; None chooses one at random.
        seed: Seed of the training and of the random choice.
        count: Number of epochs.

    Raises:
        UsageError: No image has this id, or the augmentation does not fit the images' size.
    """
    row = _choose_row(images, index, seed)
    views = augmented_images(images, row, augmentation, seed, count)
    title = f"{_name(images, row)}: augmented images of {len(views)} epochs"
    return augmentation_sheet(images.image_at(row).numpy(), views, title, f"{_describe(augmentation)}; seed {seed}")


def augmented_images(
    images: ImageSet, row: int, augmentation: Augmentation, seed: int, count: int
) -> list[AugmentedImage]:
    """Return an image as `Batches` augments it in each of the first epochs, with the random parameters.

    Args:
        images: Training set.
        row: Row of the image in the set.
        augmentation: Augmentation of the images.
        seed: Seed of the training.
        count: Number of epochs.
    """
    sampler = EpochSampler(len(images), batch_size=1, shuffle=False, seed=seed)
    batches = Batches(images, sampler, augmentation)
    views = []
    for epoch in range(count):
        # A batch has one image, so the batch of this index is this image.
        sampler.load_state_dict({"epoch": epoch, "next_batch": row})
        pixels = next(iter(batches)).images[0]
        draws = EpochDraws.draw(len(images), images.size_px, augmentation, seed, epoch)
        view = AugmentedImage(
            image=(pixels * 255).round().to(torch.uint8).numpy(),
            epoch=epoch,
            down_px=int(draws.down[row]),
            right_px=int(draws.right[row]),
            mirrored=augmentation.flip != "none" and bool(draws.mirrored[row]),
            cutout=_cutout_centre(draws, row, augmentation.cutout_px),
            operation=_operation(draws, row),
            mixture=_mixture(draws, row, images),
        )
        views.append(view)
    return views


def _cutout_centre(draws: EpochDraws, row: int, cutout_px: int) -> tuple[int, int] | None:
    if not cutout_px:
        return None
    return int(draws.cut_row[row]) + cutout_px // 2, int(draws.cut_column[row]) + cutout_px // 2


def _operation(draws: EpochDraws, row: int) -> str:
    if draws.operation is None or draws.strength is None:
        return ""
    name = OPERATIONS[int(draws.operation[row])].replace("_", " ")
    if name in ("autocontrast", "equalize"):
        return name
    return "" if name == "identity" else f"{name} {100 * float(draws.strength[row]):+.0f} %"


def _mixture(draws: EpochDraws, row: int, images: ImageSet) -> tuple[str, ...]:
    words = []
    if draws.erased is not None and draws.erased[row].any():
        top, bottom, left, right = draws.erased[row].tolist()
        words.append(f"erased {right - left}x{bottom - top} px")
    if draws.mixture is not None and float(draws.mixture.label_share[row]) < 1:
        other = images.class_names[int(images.labels[int(draws.mixture.partner[row])])]
        words.append(f"{100 * (1 - float(draws.mixture.label_share[row])):.0f} % {other}")
    return tuple(words)


def _describe(augmentation: Augmentation) -> str:
    crop_px, cutout_px = augmentation.crop_px, augmentation.cutout_px
    operations = [
        f"moved by up to {crop_px} px (reflected beyond the white line)" if crop_px else "",
        FLIPS[augmentation.flip],
        "TrivialAugment" if augmentation.trivial_augment else "",
        f"a square of {cutout_px} px cut out around (row, column)" if cutout_px else "",
        "random erasing" if augmentation.erasing else "",
        _describe_mixing(augmentation),
    ]
    return ", then ".join(filter(None, operations)) or "no augmentation"


def _describe_mixing(augmentation: Augmentation) -> str:
    kinds = ["mixup"] * bool(augmentation.mixup) + ["CutMix"] * bool(augmentation.cutmix)
    return f"mixed with another image by {' or '.join(kinds)}" if augmentation.is_mixing else ""


def _choose_row(images: ImageSet, index: int | None, seed: int) -> int:
    _require_images(images)
    if index is None:
        return int(torch.randint(len(images), (1,), generator=generator(seed, 0, "one image")))
    rows = (images.ids == index).nonzero().flatten()
    if not len(rows):
        first, last = int(images.ids.min()), int(images.ids.max())
        raise UsageError(f"{images.name} has no image {index}: the indices range from {first} to {last}")
    return int(rows[0])


def _name(images: ImageSet, row: int) -> str:
    return f"{images.name} {int(images.ids[row])} ({images.class_names[int(images.labels[row])]})"


def _require_images(images: ImageSet) -> None:
    if not len(images):
        raise UsageError(f"{images.name} holds no image to show")
