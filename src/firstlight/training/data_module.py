"""The data of a run, for Lightning: loads the sets, splits train and val, makes the batches."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_only

from firstlight.data.batches import Augmentation, Batches
from firstlight.data.download.downloader import fetch_missing
from firstlight.data.folder.layout import find_layout
from firstlight.data.folder.reader import read_folder, remarks
from firstlight.data.images import ImageSet, split_stratified
from firstlight.data.sampler import EpochSampler
from firstlight.data.source import FOLDER, load_split, recognize
from firstlight.errors import DataError, UsageError
from firstlight.paths import DEFAULT_DATA_DIR
from firstlight.recipes.config import Recipe

# A folder has a hundredth of the images that most recipes are made for. What cannot work there is changed, and said.
FOLDER_VAL_SHARE = 0.1  # where the recipe's number is more than a third of the train images
FEWEST_STEPS, GOOD_STEPS = 8, 20  # in an epoch: with fewer than the first, the batch is made small enough for the other
SMALLEST_BATCH = 8  # in which batch norm still has something to average over


class ImageData(pl.LightningDataModule):
    """Train, val and test batches of the recipe's data set.

    Args:
        recipe: names the data set, the validation share, the augmentation and the batch size.
        data_dir: where data sets on disk are kept, or a folder of images in a folder per class.

    Attributes:
        recipe: as it holds for these data: where `data_dir` is a folder of images it names that as the data set and,
            once they are loaded, their size, the number of validation images and the batch size.

    Raises:
        DataError: the folder holds images, but not in a folder per class.
    """

    train: ImageSet
    val: ImageSet
    test: ImageSet

    def __init__(self, recipe: Recipe = Recipe(), data_dir: Path | str = DEFAULT_DATA_DIR) -> None:
        super().__init__()
        self.recipe = replace(recipe, data=recognize(recipe.data, data_dir))
        self.data_dir = Path(data_dir)

    def prepare_data(self) -> None:
        """Download the data set if it is not there; of several processes one does, and the others wait.

        Raises:
            DataError: it cannot be had; says what was tried and how to go on.
        """
        fetch_missing(self.recipe.data, self.data_dir)

    def setup(self, stage: str = "fit") -> None:
        """Load what the stage needs, once: "fit" and "validate" the train split, "test" the test split.

        Raises:
            UsageError: no data set has the recipe's name, or the validation share leaves nothing to train on.
            DataError: the data set is not there, or malformed.
        """
        if stage in ("fit", "validate") and not hasattr(self, "train"):
            whole = load_split(self.recipe.data, self.data_dir, "train", self.recipe.image_size)
            own_val = self._adapt_to_folder(whole) if self.recipe.data == FOLDER else None
            if self.recipe.num_val >= len(whole):
                raise UsageError(
                    f"num_val {self.recipe.num_val} leaves none of the {len(whole)} images of {whole.name} "
                    "to train on: use a smaller num_val"
                )
            train, val = split_stratified(whole, self.recipe.num_val, self.recipe.seed)
            if self.recipe.data == FOLDER:
                _refuse_lost_classes(whole, train)
            self.train, self.val = train, own_val or val
        if stage == "test" and not hasattr(self, "test"):
            self.test = load_split(self.recipe.data, self.data_dir, "test", self.recipe.image_size)

    def _adapt_to_folder(self, whole: ImageSet) -> ImageSet | None:
        """Settle what the recipe leaves to the folder, and return its own validation images if it has any."""
        size_px, num_val = whole.size_px[0], self.recipe.num_val
        val = read_folder(self.data_dir, "val", size_px)
        lines = remarks(find_layout(self.data_dir), whole)
        if len(val):
            num_val = 0
        elif num_val > len(whole) / 3:
            num_val = max(1, round(FOLDER_VAL_SHARE * len(whole)))
            lines.append(
                f"num_val {self.recipe.num_val} is more than a third of {len(whole):,} images: {num_val} of them "
                "(10 %) are kept for validation"
            )
        batch_size = _workable_batch_size(self.recipe.batch_size, len(whole) - num_val)
        if batch_size != self.recipe.batch_size:
            lines.append(
                f"batch_size {self.recipe.batch_size} makes too few steps of {len(whole) - num_val:,} images: "
                f"{batch_size} is used"
            )
        self.recipe = replace(self.recipe, image_size=size_px, num_val=num_val, batch_size=batch_size)
        _say(lines)
        return val if len(val) else None

    def train_dataloader(self) -> Batches:
        """Shuffled, augmented batches of the training images."""
        return self._batches(
            self.train,
            shuffle=True,
            augmentation=self.recipe.augmentation,
            hardest_share=self.recipe.hardest_share,
        )

    def val_dataloader(self) -> Batches | list[Batches]:
        """Batches of the validation images in order, untouched; none if the recipe keeps none."""
        return self._batches(self.val) if len(self.val) else []

    def test_dataloader(self) -> Batches:
        """Batches of the test images in order, untouched."""
        return self._batches(self.test)

    def describe(self) -> dict[str, Any]:
        """Return name, place, sizes and digests of what has been loaded, as `environment.json` keeps them."""
        loaded = {name: getattr(self, name) for name in ("train", "val", "test") if hasattr(self, name)}
        return {
            "name": self.data_dir.resolve().name if self.recipe.data == FOLDER else self.recipe.data,
            "place": str(self.data_dir.absolute()),
            "num_images": {name: len(images) for name, images in loaded.items()},
            "digests": {name: images.digest() for name, images in loaded.items()},
        }

    def _batches(
        self,
        images: ImageSet,
        *,
        shuffle: bool = False,
        augmentation: Augmentation | None = None,
        hardest_share: float = 1.0,
    ) -> Batches:
        trainer = self.trainer
        sampler = EpochSampler(
            len(images),
            self.recipe.batch_size,
            shuffle=shuffle,
            seed=self.recipe.seed,
            rank=trainer.global_rank if trainer else 0,
            num_ranks=trainer.world_size if trainer else 1,
            hardest_share=hardest_share,
        )
        device = trainer.strategy.root_device if trainer else torch.device("cpu")
        return Batches(images, sampler, augmentation, device)


def _workable_batch_size(batch_size: int, num_images: int) -> int:
    """Return the batch size, or a power of two that makes steps enough.

    >>> _workable_batch_size(512, 50_000), _workable_batch_size(512, 700)
    (512, 32)
    """
    if num_images >= FEWEST_STEPS * batch_size:
        return batch_size
    return min(batch_size, max(SMALLEST_BATCH, 2 ** int(math.log2(max(1, num_images / GOOD_STEPS)))))


def _refuse_lost_classes(whole: ImageSet, train: ImageSet) -> None:
    counts = (each.labels.bincount(minlength=len(whole.class_names)) for each in (whole, train))
    lost = [name for name, before, after in zip(whole.class_names, *counts, strict=True) if before and not after]
    if lost:
        raise DataError(
            f"{whole.name}: the validation images take the only ones of {lost[0]!r}. Add images, make a val folder, or "
            "choose another num_val."
        )


@rank_zero_only
def _say(lines: list[str]) -> None:
    for line in lines:
        logging.getLogger("firstlight").info(line)
