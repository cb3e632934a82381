"""Adapt a recipe to the user's own images: image size, number of validation images and batch size."""

from __future__ import annotations

import math
from dataclasses import replace

from firstlight.data.images import ImageSet
from firstlight.errors import DataError
from firstlight.recipes.config import Recipe

# The recipes were made for 50,000 images; a folder of images usually has a hundredth of that.
ADAPTED_VAL_SHARE = 0.1  # replaces a validation share of more than a third
MIN_STEPS_PER_EPOCH = 8  # with fewer steps, the batch is made small enough for `ADAPTED_STEPS_PER_EPOCH`
ADAPTED_STEPS_PER_EPOCH = 20
FEW_STEPS = 300  # with fewer, batch norm and weights are hardly trained
FEW_PER_CLASS = 500  # up to which the recipe small was measured
DEFAULT_RECIPE = "adam24"  # that of `fit` if the user names none
MIN_BATCH_SIZE = 8  # batch norm needs a few images to average over


def adapt_recipe(recipe: Recipe, train: ImageSet, val: ImageSet | None) -> tuple[Recipe, list[str]]:
    """Return a recipe that fits the images, and a line about each setting that had to be changed.

    The image size becomes that of the images. If the data set has its own validation images, none are split off the
    training images. A number of validation images or a batch size that is too large for the data set is reduced.

    Args:
        recipe: Recipe as the user chose it.
        train: All training images, including those to be split off for validation.
        val: The data set's own validation images, if it has any.
    """
    num_val, lines = recipe.num_val, []
    if val is not None:
        num_val = 0
    elif num_val > len(train) / 3:
        num_val = max(1, round(ADAPTED_VAL_SHARE * len(train)))
        lines.append(
            f"num_val {recipe.num_val} is more than a third of {len(train):,} images: {num_val} of them "
            "(10 %) are kept for validation"
        )
    batch_size = workable_batch_size(recipe.batch_size, len(train) - num_val)
    if batch_size != recipe.batch_size:
        lines.append(
            f"batch_size {recipe.batch_size} gives too few steps per epoch with {len(train) - num_val:,} images: "
            f"{batch_size} is used"
        )
    per_class = len(train) / max(1, len(train.class_names))
    if recipe.name == DEFAULT_RECIPE and not recipe.init and per_class <= FEW_PER_CLASS:
        lines.append(
            f"about {per_class:.0f} training images of each class are few: --recipe small is made for up to "
            f"{FEW_PER_CLASS}"
        )
    steps_per_epoch = -(-(len(train) - num_val) // batch_size)
    if steps_per_epoch * recipe.max_epochs < FEW_STEPS:
        num_epochs = -(-FEW_STEPS // steps_per_epoch)
        lines.append(
            f"{recipe.max_epochs} epochs of {len(train) - num_val:,} images are only "
            f"{steps_per_epoch * recipe.max_epochs:,} training steps: more may help, for instance {num_epochs} epochs"
        )
    return replace(recipe, image_size=train.size_px[0], num_val=num_val, batch_size=batch_size), lines


def workable_batch_size(batch_size: int, num_images: int) -> int:
    """Return the batch size, or a smaller power of two if an epoch would have too few steps.

    >>> workable_batch_size(512, 50_000), workable_batch_size(512, 700)
    (512, 32)
    """
    if num_images >= MIN_STEPS_PER_EPOCH * batch_size:
        return batch_size
    adapted = 2 ** int(math.log2(max(1, num_images / ADAPTED_STEPS_PER_EPOCH)))
    return min(batch_size, max(MIN_BATCH_SIZE, adapted))


def refuse_lost_classes(whole: ImageSet, train: ImageSet) -> None:
    """Refuse a validation split that takes all images of a class.

    Raises:
        DataError: A class has images in `whole`, but none in `train`.
    """
    counts = (images.labels.bincount(minlength=len(whole.class_names)) for images in (whole, train))
    lost = [name for name, before, after in zip(whole.class_names, *counts, strict=True) if before and not after]
    if lost:
        raise DataError(
            f"{whole.name}: the validation split takes the only images of {lost[0]!r}. Add images of this class, make "
            "a val folder, or choose a smaller num_val."
        )
