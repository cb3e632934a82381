"""Recipe: the whole configuration of a run, frozen."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from firstlight.augment.progressive import ProgressiveResizing
from firstlight.data.batches import Augmentation
from firstlight.data.folder.reader import check_image_size
from firstlight.errors import RunError, UsageError
from firstlight.evaluation.tta_views import Views
from firstlight.files import write_atomic
from firstlight.networks.network_config import NetworkConfig, ResNet9Config
from firstlight.recipes.nested import checked, flatten, from_dict
from firstlight.recipes.optimizer_config import MuonConfig, OptimizerConfig


@dataclass(frozen=True)
class Recipe:
    """The whole configuration of a run: what is trained, on what, and how. The defaults are the exercise's.

    Args:
        name: of the recipe; its runs are kept under it.
        data: name of the data set.
        num_val: images split off train, stratified, to validate on.
        image_size: side in pixels, 16 to 512, to which a folder's images are resized; 0 takes 64, or 32 for small ones.
        network: which, and its shape.
        augmentation: what is done to the training images.
        resizing: how the side of the training images grows, if it does.
        hardest_share: share of the training images, those whose loss was largest when they were last seen, of which
            every epoch but the first is made; it is as long as ever, and has them more than once. 1 trains on all.
        gradient_share: share of each step's gradient that is computed: that of the images with the largest, as few as
            hold it. The others cost no backward pass on a CPU, nor where steps are recorded. 1 computes all.
        optimizer: how the weights are updated.
        averaging: decay per step of an exponential moving average of the weights, which validation and test use;
            0 keeps none.
        label_smoothing: share of the target spread over all classes.
        views: of each test image, for a second accuracy beside the single view's ("single": none).
        views_margin: only test images whose two largest probabilities differ by no more than this get these views, and
            of many views the later ones only while they differ by less and less; 1 gives them to all.
        max_epochs: epochs, of as many images as the training set has.
        batch_size: images in a step, over all devices.
        seed: of the weights, the split, the order and the augmentation.

    Raises:
        UsageError: a value that cannot work.
    """

    name: str = "adam24"
    data: str = "cifar10"
    num_val: int = 5000
    image_size: int = 0
    network: NetworkConfig = ResNet9Config()
    augmentation: Augmentation = Augmentation()
    resizing: ProgressiveResizing = ProgressiveResizing()
    hardest_share: float = 1.0
    gradient_share: float = 1.0
    optimizer: OptimizerConfig | MuonConfig = OptimizerConfig()
    averaging: float = 0.0
    label_smoothing: float = 0.0
    views: Views = "single"
    views_margin: float = 1.0
    max_epochs: int = 24
    batch_size: int = 512
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("max_epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be 1 or more, not {getattr(self, name)}")
        if self.num_val < 0:
            raise UsageError(f"num_val must be 0 or more, not {self.num_val}")
        check_image_size(self.image_size)
        if not 0 <= self.label_smoothing < 1:
            raise UsageError(f"label_smoothing must be at least 0 and below 1, not {self.label_smoothing}")
        for name in ("hardest_share", "gradient_share"):
            if not 0 < getattr(self, name) <= 1:
                raise UsageError(f"{name} must be above 0 and at most 1, not {getattr(self, name)}")
        if not 0 <= self.averaging < 1:
            raise UsageError(f"averaging must be at least 0 and below 1, not {self.averaging}")
        checked(Recipe, "views", self.views)
        if not 0 <= self.views_margin <= 1:
            raise UsageError(f"views_margin must be at least 0 and at most 1, not {self.views_margin}")
        self.optimizer.check()
        self.network.check()

    def to_dict(self) -> dict[str, Any]:
        """Return plain nested dictionaries, as `recipe.yaml` holds them."""
        return asdict(self) | {"network": self.network.to_dict()}

    def flat(self) -> dict[str, Any]:
        """Return one level of dotted names, as loggers and tables show them."""
        return flatten(self.to_dict())

    def save(self, path: Path) -> None:
        """Write `recipe.yaml`."""
        write_atomic(path, yaml.safe_dump(self.to_dict(), sort_keys=False))

    @staticmethod
    def load(path: Path) -> Recipe:
        """Read `recipe.yaml`.

        Raises:
            RunError: it is missing, is not YAML, names something that no recipe has, or a value that cannot work.
        """
        try:
            found = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
            raise RunError(f"{path}: cannot be read as a recipe ({_first_line(error)})") from error
        try:
            return from_dict(Recipe, found)
        except (TypeError, ValueError, OverflowError, UsageError) as error:
            raise RunError(f"{path}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


__all__ = ["MuonConfig", "OptimizerConfig", "Recipe", "flatten", "from_dict"]
