"""Recipe: the complete, frozen configuration of a training run. Imports no PyTorch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from firstlight.augment.progressive import ProgressiveResizing
from firstlight.data.augmentation_config import Augmentation
from firstlight.data.folder.image_size import check_image_size
from firstlight.data.hub_columns import Columns
from firstlight.errors import RunError, UsageError
from firstlight.evaluation.view_names import Views
from firstlight.files import read_text, write_atomic
from firstlight.networks.network_config import NetworkConfig, ResNet9Config
from firstlight.paths import has_control_characters
from firstlight.recipes.nested import check_field, flatten, from_dict
from firstlight.recipes.optimizer_config import MuonConfig, OptimizerConfig

MAX_RECIPE_BYTES = 2**18  # a megabyte of YAML takes seconds to read
MIN_SHARE = 0.01  # of the training images, or of the gradient norm
MAX_EPOCHS = 10**6
MAX_BODY_RATE = 100.0
MAX_SEED = 2**32 - 1  # NumPy's generators take no more


@dataclass(frozen=True)
class Recipe:
    """Complete configuration of a training run.

    The defaults of the fields are those of the exercise (`adam24`).

    Args:
        name: Name of the recipe. Its runs are kept in `logs/<name>/`.
        data: Name of the data set: "cifar10", "cifar100", "cifar100-coarse", "drawn", "watermark", "folder" for a
            folder of your own images, or "hf:NAME", "hf:NAME:CONFIG" or "hf:./folder" for a Hugging Face data set.
        image_column: Column of the images of a Hugging Face data set; empty finds it by the types of the columns.
        label_column: Column of the labels of a Hugging Face data set; empty finds it by the types of the columns.
        num_val: Number of training images held out for validation, the same share of each class. 0 holds out none.
        image_size: Side in pixels, 16 to 512, to which the images of a folder are resized. 0 chooses 32 for small
            images and 64 for others. Other data sets keep their own size.
        network: Which network to train, and its options.
        augmentation: Augmentation of the training images.
        resizing: Schedule of the size of the training images; by default they keep their size.
        hardest_share: Share of the training images, in (0, 1], that is used from the second epoch on: the images
            whose loss was largest when they were last seen. An epoch keeps its number of steps, so these images occur
            more than once. 1 uses all images.
        gradient_share: Share of each step's gradient norm, in (0, 1], that is kept: only the smallest set of images
            that holds this share has a backward pass. This saves time on a CPU, and on a GPU if the steps are captured
            as CUDA graphs. 1 keeps all images.
        optimizer: Optimizer, learning rates and schedule.
        averaging: Decay per step of an exponential moving average of the weights, in [0, 1). Validation and test use
            the average. 0 turns averaging off.
        label_smoothing: Share of the target probability, in [0, 1), that is spread evenly over all classes. 0 turns it
            off.
        class_weights: "balanced" weights the loss of each training image by n / (k n_c), for n images of k classes, n_c
            of which are in its class: then all classes count the same. "none" counts all images the same.
        views: Views of each test image whose logits are averaged for a second test accuracy (test-time augmentation):
            "single" (none), "flip" (2 views), "flip_shift" (6) or "flip_star" (34).
        views_margin: An image gets more views only if its two largest probabilities differ by no more than this, in
            [0, 1]. Later rounds of views need a smaller difference. 1 gives all views to all images.
        max_epochs: Number of epochs.
        stop_after: Number of epochs without a better validation after which the training stops. 0 never stops early.
        keep: Weights that the run keeps: those of the "last" epoch, or of the "best" one by validation.
        judge_by: Metric that decides which epoch is better: "val_loss" or "val_acc".
        batch_size: Number of images in a step, over all devices together.
        seed: Seed of the weights, the validation split, the order of the images and the augmentation.
        init: Model whose weights the training starts from: a run folder, a folder that `export` wrote, "bundled" for
            the model that comes with firstlight, or "user/model" for one on the Hugging Face hub. Empty starts from
            random weights.
        init_body_rate: Learning rates of all layers but the head, as a multiple of those of `optimizer`, if the
            training starts from a model's weights.
        init_frozen_stages: Number of the network's first stages that keep the model's weights.

    Raises:
        UsageError: A value is out of range.
    """

    name: str = "adam24"
    data: str = "cifar10"
    image_column: str = ""
    label_column: str = ""
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
    class_weights: Literal["none", "balanced"] = "none"
    views: Views = "single"
    views_margin: float = 1.0
    max_epochs: int = 24
    stop_after: int = 0
    keep: Literal["last", "best"] = "last"
    judge_by: Literal["val_loss", "val_acc"] = "val_loss"
    batch_size: int = 512
    seed: int = 0
    init: str = ""
    init_body_rate: float = 0.1
    init_frozen_stages: int = 0

    def __post_init__(self) -> None:
        for name in ("name", "data", "image_column", "label_column", "init"):
            if has_control_characters(getattr(self, name)):
                raise UsageError(f"{name} has control characters: {getattr(self, name)!r}")
        for name, largest in (("max_epochs", MAX_EPOCHS), ("batch_size", 10**6)):
            if not 1 <= getattr(self, name) <= largest:
                raise UsageError(f"{name} must be 1 to {largest:,}, not {getattr(self, name):,}")
        if not 0 <= self.seed <= MAX_SEED:
            raise UsageError(f"seed must be 0 to {MAX_SEED:,}, not {self.seed:,}")
        if self.num_val < 0:
            raise UsageError(f"num_val must be 0 or more, not {self.num_val}")
        check_image_size(self.image_size)
        if not 0 <= self.label_smoothing < 1:
            raise UsageError(f"label_smoothing must be at least 0 and below 1, not {self.label_smoothing}")
        for name in ("hardest_share", "gradient_share"):
            if not MIN_SHARE <= getattr(self, name) <= 1:
                raise UsageError(f"{name} must be {MIN_SHARE} to 1, not {getattr(self, name)}")
        if not 0 <= self.averaging < 1:
            raise UsageError(f"averaging must be at least 0 and below 1, not {self.averaging}")
        for name in ("class_weights", "views", "keep", "judge_by"):
            check_field(Recipe, name, getattr(self, name))
        if not 0 <= self.stop_after <= MAX_EPOCHS:
            raise UsageError(f"stop_after must be 0 to {MAX_EPOCHS:,}, not {self.stop_after:,}")
        if not 0 <= self.views_margin <= 1:
            raise UsageError(f"views_margin must be at least 0 and at most 1, not {self.views_margin}")
        if not 0 < self.init_body_rate <= MAX_BODY_RATE:
            raise UsageError(f"init_body_rate must be above 0 and at most {MAX_BODY_RATE:g}, not {self.init_body_rate}")
        if self.init_frozen_stages < 0:
            raise UsageError(f"init_frozen_stages must be 0 or more, not {self.init_frozen_stages}")
        self.optimizer.check()
        self.network.check()

    @property
    def body_rate(self) -> float:
        """Learning rates of all layers but the head, as a multiple of those of the optimizer."""
        return self.init_body_rate if self.init else 1.0

    @property
    def columns(self) -> Columns:
        """The columns of a Hugging Face data set."""
        return Columns(self.image_column, self.label_column)

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as nested dictionaries of plain values, the content of `recipe.yaml`."""
        return asdict(self) | {"network": self.network.to_dict()}

    def flat(self) -> dict[str, Any]:
        """Return the configuration as one dictionary with dotted names, for instance "optimizer.learning_rate"."""
        return flatten(self.to_dict())

    def save(self, path: Path) -> None:
        """Write `recipe.yaml`."""
        import yaml  # not needed to list recipes

        write_atomic(path, yaml.safe_dump(self.to_dict(), sort_keys=False))

    @staticmethod
    def load(path: Path) -> Recipe:
        """Read `recipe.yaml`. Fields that the file leaves out have their defaults.

        Raises:
            RunError: The file is missing or not YAML, has an unknown field, or a value is out of range.
        """
        import yaml  # not needed to list recipes

        try:
            found = yaml.safe_load(read_text(path, MAX_RECIPE_BYTES))
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
            raise RunError(f"{path}: cannot be read as a recipe ({_first_line(error)})") from error
        try:
            return from_dict(Recipe, found)
        except (TypeError, ValueError, OverflowError, UsageError) as error:
            raise RunError(f"{path}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


__all__ = ["MuonConfig", "OptimizerConfig", "Recipe", "flatten", "from_dict"]
