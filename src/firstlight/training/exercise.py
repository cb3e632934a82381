"""CustomResNet, the model of the exercise (a custom ResNet on CIFAR-10): a LightningModule that brings its data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields, is_dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from firstlight.data.batches import Batches
from firstlight.data.decisions import decisions_from
from firstlight.errors import RunError, UsageError
from firstlight.networks.custom import import_named_network, imports_refused
from firstlight.networks.network_config import NetworkConfig
from firstlight.paths import DEFAULT_DATA_DIR
from firstlight.recipes.config import MuonConfig, OptimizerConfig, Recipe, from_dict
from firstlight.training.data_module import ImageData
from firstlight.training.initialization import init_from_train_images, seeded_network
from firstlight.training.lightning_internals import attached_trainer, outermost_frame
from firstlight.training.module import Classifier
from firstlight.training.signatures import accepts_arguments_of


class CustomResNet(Classifier):
    """The exercise's ResNet as a LightningModule that brings its data.

    Args:
        data_dir: Folder that holds the data sets, or one folder of images per class.
        num_classes: Number of classes of the data set.
        network: Configuration of the network, also as a dictionary such as `{"width": 32}`; by default the exercise's.
        optimizer: Configuration of the optimizer, also as a dictionary; by default the exercise's.
        decisions: CSV file of an audit's decisions: images to drop, and new labels.
        **changes: Other fields of `Recipe` that differ from those of the exercise, for instance `batch_size=128`.

    Raises:
        UsageError: An argument has an unknown name, a wrong type or a value that cannot work.

    >>> model = CustomResNet(batch_size=128)
    >>> sum(p.numel() for p in model.parameters())
    6573120
    """

    @accepts_arguments_of(Recipe)
    def __init__(
        self,
        data_dir: Path | str = DEFAULT_DATA_DIR,
        num_classes: int = 10,
        *,
        network: NetworkConfig | Mapping[str, Any] | None = None,
        optimizer: OptimizerConfig | MuonConfig | Mapping[str, Any] | None = None,
        decisions: Path | str | None = None,
        **changes: Any,
    ) -> None:
        _check_arguments(data_dir, num_classes, changes)
        parts = {"network": network, "optimizer": optimizer}
        changes |= {name: value for name, value in parts.items() if value is not None}
        recipe = _recipe_of(changes)
        import_named_network(recipe.network)
        super().__init__(seeded_network(num_classes, recipe), recipe)
        hyperparameters = {"data_dir": str(data_dir), "num_classes": num_classes} | recipe.to_dict()
        if decisions is not None:
            hyperparameters["decisions"] = str(decisions)
        self.save_hyperparameters(hyperparameters, frame=outermost_frame())
        self.data = ImageData(recipe, data_dir, decisions=decisions_from(decisions))
        self.num_classes = num_classes
        self.example_input_array = torch.zeros(1, 3, 32, 32)
        self._is_initialized = False  # from the training images, or by loaded weights
        self.register_load_state_dict_post_hook(_mark_initialized)

    @classmethod
    def load_from_checkpoint(cls, *args: Any, **kwargs: Any) -> CustomResNet:
        """Load a checkpoint that Lightning wrote; see `LightningModule.load_from_checkpoint`.

        A checkpoint may name a network class outside firstlight. Import its module first: loading never imports code.

        Raises:
            RunError: The file is missing, or is no checkpoint that Lightning wrote of this class.
        """
        path = kwargs.get("checkpoint_path", args[0] if args else None)
        try:
            with imports_refused():
                return super().load_from_checkpoint(*args, **({"weights_only": True} | kwargs))
        except (OSError, EOFError, KeyError, RuntimeError, UnpicklingError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise RunError(
                f"{path} is no checkpoint of {cls.__name__} ({reason}); firstlight.load opens a run folder"
            ) from error

    def forward(self, images: Tensor) -> Tensor:
        """Return the log-softmax of the logits, float [n k], of images in [0, 1], float [n 3 h w]."""
        return self.network(images).log_softmax(dim=1)

    @property
    def batch_size(self) -> int:
        """Batch size of the recipe; Lightning's `Tuner.scale_batch_size` reads and sets it."""
        return self.recipe.batch_size

    @batch_size.setter
    def batch_size(self, value: int) -> None:
        self._change_recipe(batch_size=value)

    def _change_recipe(self, **changes: Any) -> None:
        """Change fields of the recipe, also in the data module and in the saved hyperparameters."""
        super()._change_recipe(**changes)
        self.data.recipe = replace(self.data.recipe, **changes)
        self.save_hyperparameters(dict(self.hparams) | self.recipe.to_dict(), frame=outermost_frame())

    def train_dataloader(self) -> Batches:
        """Return shuffled, augmented batches of the training images."""
        with self._data_for("fit") as data:
            if not self._is_initialized:
                init_from_train_images(self.network, data.train)
                self._is_initialized = True
            self.example_input_array = torch.zeros(1, 3, *data.train.size_px)  # for TensorBoard's graph
            return data.train_dataloader()

    def val_dataloader(self) -> Batches | list[Batches]:
        """Return batches of the validation images, in order."""
        with self._data_for("fit") as data:
            return data.val_dataloader()

    def test_dataloader(self) -> Batches:
        """Return batches of the test images, in order."""
        with self._data_for("test") as data:
            return data.test_dataloader()

    def predict_dataloader(self) -> Batches:
        """Return batches of the test images, in order."""
        return self.test_dataloader()

    @contextmanager
    def _data_for(self, stage: str) -> Iterator[ImageData]:
        """Load the data at the first call, and attach the module's trainer to them while batches are made.

        The data are never loaded if the user passes loaders to the trainer.

        Raises:
            UsageError: The data have another number of classes than the network.
        """
        self.data.prepare_data()
        self.data.setup(stage)
        images = self.data.train if stage == "fit" else self.data.test
        if len(images.class_names) != self.num_classes:
            num_classes = len(images.class_names)
            raise UsageError(f"{images.name} has {num_classes} classes: use CustomResNet(num_classes={num_classes})")
        self.data.trainer = attached_trainer(self)
        try:
            yield self.data
        finally:
            self.data.trainer = None


def _mark_initialized(module: CustomResNet, _: Any) -> None:
    """Keep loaded weights: the training images must not initialize them again."""
    module._is_initialized = True


def _check_arguments(data_dir: Any, num_classes: Any, changes: dict[str, Any]) -> None:
    """Raise UsageError for an argument of an unknown name, or of a wrong type."""
    if not isinstance(data_dir, str | Path):
        raise UsageError(f"data_dir must be a path, not {data_dir!r}")
    if type(num_classes) is not int or num_classes < 2:
        raise UsageError(f"num_classes must be an integer of 2 or more, not {num_classes!r}")
    known = [field.name for field in fields(Recipe)]
    for name in changes:
        if name not in known:
            raise UsageError(f"CustomResNet has no argument {name}{_hint(name, [*known, 'data_dir', 'num_classes'])}")


def _hint(unknown: str, known: list[str]) -> str:
    """Return what the user may have meant by an unknown argument: one of a similar name, or one of a nested part."""
    for path in Recipe().flat():
        part, _, field = path.rpartition(".")
        if part and field == unknown:
            return f': it is part of {part}, as in {part}={{"{field}": ...}}'
    similar = get_close_matches(unknown, known, n=1)
    return f": did you mean {similar[0]}?" if similar else f". The arguments are {', '.join(known)}"


def _recipe_of(changes: dict[str, Any]) -> Recipe:
    """Return the exercise's recipe with these changes.

    Raises:
        UsageError: A value has a wrong type or cannot work; the message names the field.
    """
    for field in fields(Recipe):
        if is_dataclass(field.default) and not isinstance(_plain(changes.get(field.name, {})), Mapping):
            raise UsageError(f"{field.name} must be a configuration or a dictionary, not {changes[field.name]!r}")
    try:
        recipe: Recipe = from_dict(Recipe, {name: _plain(value) for name, value in changes.items()})
    except TypeError as error:
        raise UsageError(f"CustomResNet: {error}") from error
    if recipe.init:
        raise UsageError("init is an option of firstlight.fit; CustomResNet starts from random weights")
    return recipe


def _plain(value: Any) -> Any:
    """Return a configuration as nested dictionaries, as a checkpoint holds it."""
    if hasattr(value, "to_dict"):
        return value.to_dict()
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


custom_ResNet = CustomResNet  # noqa: N816  # the exercise's own spelling
