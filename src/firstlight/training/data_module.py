"""The data of a run, for Lightning: loads the sets, splits train and val, makes the batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from firstlight.data.batches import Augmentation, Batches
from firstlight.data.download import fetch_missing
from firstlight.data.images import ImageSet, split_stratified
from firstlight.data.sampler import EpochSampler
from firstlight.data.sources import load_split
from firstlight.errors import UsageError
from firstlight.places import DEFAULT_DATA_DIR
from firstlight.training.recipe import Recipe


class ImageData(pl.LightningDataModule):
    """Train, val and test batches of the recipe's data set.

    Args:
        recipe: names the data set, the validation share, the augmentation and the batch size.
        data_dir: where data sets on disk are kept.
    """

    train: ImageSet
    val: ImageSet
    test: ImageSet

    def __init__(self, recipe: Recipe = Recipe(), data_dir: Path | str = DEFAULT_DATA_DIR) -> None:
        super().__init__()
        self.recipe = recipe
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
            whole = load_split(self.recipe.data, self.data_dir, "train")
            if self.recipe.num_val >= len(whole):
                raise UsageError(
                    f"num_val {self.recipe.num_val} leaves none of the {len(whole)} images of {whole.name} "
                    "to train on: use a smaller num_val"
                )
            self.train, self.val = split_stratified(whole, self.recipe.num_val, self.recipe.seed)
        if stage == "test" and not hasattr(self, "test"):
            self.test = load_split(self.recipe.data, self.data_dir, "test")

    def train_dataloader(self) -> Batches:
        """Shuffled, augmented batches of the training images."""
        return self._batches(self.train, shuffle=True, augmentation=self.recipe.augmentation)

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
            "name": self.recipe.data,
            "place": str(self.data_dir.absolute()),
            "num_images": {name: len(images) for name, images in loaded.items()},
            "digests": {name: images.digest() for name, images in loaded.items()},
        }

    def _batches(self, images: ImageSet, *, shuffle: bool = False, augmentation: Augmentation | None = None) -> Batches:
        trainer = self.trainer
        sampler = EpochSampler(
            len(images),
            self.recipe.batch_size,
            shuffle=shuffle,
            seed=self.recipe.seed,
            rank=trainer.global_rank if trainer else 0,
            num_ranks=trainer.world_size if trainer else 1,
        )
        device = trainer.strategy.root_device if trainer else torch.device("cpu")
        return Batches(images, sampler, augmentation, device)
