"""CustomResNet: the exercise's five-line use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from firstlight.data.batches import Batches
from firstlight.errors import UsageError
from firstlight.networks import build_network
from firstlight.paths import DEFAULT_DATA_DIR
from firstlight.recipes.config import Recipe
from firstlight.training.data_module import ImageData
from firstlight.training.module import Classifier


class CustomResNet(Classifier):
    """The exercise's ResNet as a LightningModule that brings its data.

    Args:
        data_dir: where data sets on disk are kept.
        num_classes: of the data set.
        **changes: fields of `Recipe` that differ from the exercise's, for instance `batch_size=128`.

    >>> model = CustomResNet(batch_size=128)
    >>> sum(p.numel() for p in model.parameters())
    6573120
    """

    def __init__(self, data_dir: Path | str = DEFAULT_DATA_DIR, num_classes: int = 10, **changes: Any) -> None:
        recipe = Recipe(**changes)
        super().__init__(build_network(num_classes, recipe.network), recipe)
        self.data = ImageData(recipe, data_dir)
        self.num_classes = num_classes
        self.example_input_array = torch.zeros(1, 3, 32, 32)

    def forward(self, images: Tensor) -> Tensor:
        """Return the log-softmax of the logits, float [n k], of images in [0, 1], float [n 3 h w]."""
        return self.network(images).log_softmax(dim=1)

    def train_dataloader(self) -> Batches:
        """Shuffled, augmented batches of the training images."""
        return self._loaded("fit").train_dataloader()

    def val_dataloader(self) -> Batches | list[Batches]:
        """Batches of the validation images, in order."""
        return self._loaded("fit").val_dataloader()

    def test_dataloader(self) -> Batches:
        """Batches of the test images, in order."""
        return self._loaded("test").test_dataloader()

    def _loaded(self, stage: str) -> ImageData:
        """Load the data when they are first asked for: never, if the user brings other loaders.

        Raises:
            UsageError: they have another number of classes than the network.
        """
        self.data.trainer = self.trainer
        self.data.prepare_data()
        self.data.setup(stage)
        images = self.data.train if stage == "fit" else self.data.test
        if len(images.class_names) != self.num_classes:
            num_classes = len(images.class_names)
            raise UsageError(f"{images.name} has {num_classes} classes: CustomResNet(num_classes={num_classes}, ...)")
        if stage == "fit":
            self.network.normalize.adopt(*self.data.train.mean_and_std)
        return self.data


custom_ResNet = CustomResNet  # noqa: N816  # the exercise's own spelling
