"""The Lightning data module: opens a recipe's data set, splits off validation images and makes the batches."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_only

from firstlight.data.batches import Augmentation, Batches
from firstlight.data.decided_source import DecidedSource
from firstlight.data.decisions import Decisions
from firstlight.data.degenerate import describe_degenerate_data
from firstlight.data.exact_copies import describe_copies
from firstlight.data.folds import Fold, split_fold
from firstlight.data.images import ImageSet, split_stratified
from firstlight.data.sampler import EpochSampler
from firstlight.data.source import Source, open_source
from firstlight.errors import UsageError
from firstlight.paths import DEFAULT_DATA_DIR, user_path
from firstlight.recipes.config import Recipe
from firstlight.runs.options import fold_of
from firstlight.runs.run import Run
from firstlight.training.adapt_recipe import adapt_recipe, refuse_lost_classes


class ImageData(pl.LightningDataModule):
    """Train, val and test batches of the recipe's data set.

    Args:
        recipe: Recipe that sets the data set, the number of validation images, the augmentation and the batch size.
        data_dir: Folder that holds data sets on disk, or a folder with one folder of images per class.
        fold: Fold of a cross-validation that holds the validation images; None splits off `recipe.num_val` images.
        decisions: Decisions of an audit, which drop images and change labels; None for none.

    Attributes:
        recipe: Recipe as it applies to these data. If `data_dir` is a folder of images, `recipe.data` is "folder", and
            loading the images also sets the image size, the number of validation images and the batch size.

    Raises:
        UsageError: No data set has the recipe's name.
        DataError: `data_dir` holds images that are not sorted into one folder per class.
    """

    train: ImageSet
    val: ImageSet
    test: ImageSet

    def __init__(
        self,
        recipe: Recipe = Recipe(),
        data_dir: Path | str = DEFAULT_DATA_DIR,
        fold: Fold | None = None,
        decisions: Decisions | None = None,
    ) -> None:
        super().__init__()
        self.data_dir = user_path(data_dir)
        self.fold, self.decisions = fold, decisions
        self.source = self._open(recipe)
        self.recipe = replace(recipe, data=self.source.name, num_val=recipe.num_val if fold is None else 0)

    @classmethod
    def of_run(cls, run: Run, data_dir: Path | str | None = None) -> ImageData:
        """Return the data of a run, with its decisions, and its fold if it belongs to a cross-validation.

        Args:
            run: Run that names its data set.
            data_dir: Folder of the data; None for the one that the run names.
        """
        return cls(run.recipe, data_dir or run.data["place"], fold_of(run.path), run.decisions)

    def _open(self, recipe: Recipe) -> Source:
        source = open_source(recipe.data, self.data_dir, recipe.image_size, columns=recipe.columns)
        return source if self.decisions is None else DecidedSource(source, self.decisions)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for copies and pickles, without the trainer and the images, which a copy loads again."""
        left_out = ("trainer", "source", "train", "val", "test")
        return {name: value for name, value in self.__dict__.items() if name not in left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.source = self._open(self.recipe)
        self.trainer = None

    def prepare_data(self) -> None:
        """Download the data set if it is missing. One of several processes downloads it; the others wait.

        Raises:
            DataError: The download failed. The message lists what was tried and what to do.
        """
        self.source.fetch()

    def setup(self, stage: str = "fit") -> None:
        """Load what the stage needs, once: the train split for "fit" and "validate", the test split for "test".

        Raises:
            UsageError: The validation images would leave nothing to train on.
            DataError: The data set is missing or malformed.
        """
        if stage in ("fit", "validate") and not hasattr(self, "train"):
            self._load_train_and_val()
        if stage in ("test", "predict") and not hasattr(self, "test"):
            self.test = self.source.test()

    def _load_train_and_val(self) -> None:
        whole, val = self.source.train(), self.source.val()
        lines = self.source.remarks(whole)
        every_image = whole
        if self.fold is not None:
            lines = self._describe_fold(lines, has_val=val is not None)
            whole, val = split_fold(whole, self.fold)
        if self.source.adapts_recipe:
            self.recipe, changes = adapt_recipe(self.recipe, whole, val)
            lines += changes
        _log_lines(lines)
        if self.recipe.num_val >= len(whole):
            raise UsageError(
                f"num_val {self.recipe.num_val} leaves none of the {len(whole)} images of {whole.name} "
                "to train on: use a smaller num_val"
            )
        train, split_off = split_stratified(whole, self.recipe.num_val, self.recipe.seed)
        if self.source.adapts_recipe:
            refuse_lost_classes(every_image, train)
        self.train, self.val = train, split_off if val is None else val
        if self.source.may_hold_copies:
            self.test = self.source.test()
            _log_lines(describe_copies(self.train, self.val, self.test))
        _log_lines(describe_degenerate_data(self.train, self.val, getattr(self, "test", None)))

    def _describe_fold(self, lines: list[str], *, has_val: bool) -> list[str]:
        """Return the lines to log for this fold: those about the data set for the first fold, none for the others."""
        assert self.fold is not None
        if self.fold.index:
            return []
        return lines + ["the images of the data set's own validation split are not used"] * has_val

    def train_dataloader(self) -> Batches:
        """Return shuffled, augmented batches of the training images."""
        return self._batches(
            self.train,
            shuffle=True,
            augmentation=self.recipe.augmentation,
            hardest_share=self.recipe.hardest_share,
        )

    def val_dataloader(self) -> Batches | list[Batches]:
        """Return batches of the validation images in order, not augmented; an empty list if there are none."""
        return self._batches(self.val) if len(self.val) else []

    def test_dataloader(self) -> Batches:
        """Return batches of the test images in order, not augmented."""
        return self._batches(self.test)

    def predict_dataloader(self) -> Batches:
        """Return batches of the test images in order."""
        return self.test_dataloader()

    def describe(self) -> dict[str, Any]:
        """Return the data set's name, path, and the sizes and digests of the loaded splits, for `environment.json`."""
        loaded = {name: getattr(self, name) for name in ("train", "val", "test") if hasattr(self, name)}
        return self.source.describe() | {
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
        is_overfitting = bool(getattr(trainer, "overfit_batches", 0))  # on the same images in every epoch
        sampler = EpochSampler(
            len(images),
            self.recipe.batch_size,
            shuffle=shuffle and not is_overfitting,
            seed=self.recipe.seed,
            rank=trainer.global_rank if trainer else 0,
            num_ranks=trainer.world_size if trainer else 1,
            hardest_share=1.0 if is_overfitting else hardest_share,
        )
        device = trainer.strategy.root_device if trainer else torch.device("cpu")
        return Batches(images, sampler, augmentation, device)


@rank_zero_only
def _log_lines(lines: list[str]) -> None:
    for line in lines:
        logging.getLogger("firstlight").info(line)
