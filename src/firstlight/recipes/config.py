"""Recipe: the whole configuration of a run, frozen."""

from __future__ import annotations

import math
import reprlib
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import yaml

from firstlight.augment.progressive import ProgressiveResizing
from firstlight.data.batches import Augmentation
from firstlight.data.folder.reader import check_image_size
from firstlight.errors import RunError, UsageError
from firstlight.evaluation.views import Views
from firstlight.files import write_atomic
from firstlight.networks.registry import NetworkConfig
from firstlight.networks.resnet9 import ResNet9Config


@dataclass(frozen=True)
class OptimizerConfig:
    """How the weights are updated.

    Args:
        name: Adam (Kingma and Ba 2015, arXiv 1412.6980), or SGD with Nesterov momentum.
        learning_rate: its peak.
        head_rate: what the head learns at, as a share of that rate; its weight decay grows in return, so that
            the pull towards zero stays the same.
        schedule: the same rate throughout, or one cycle (up, then a cosine down to zero).
        momentum: of SGD.
        weight_decay: added to the gradient, times the weight.
    """

    name: Literal["adam", "sgd"] = "adam"
    learning_rate: float = 0.001
    head_rate: float = 1.0
    schedule: Literal["constant", "one_cycle"] = "constant"
    momentum: float = 0.9
    weight_decay: float = 0.0

    def check(self) -> None:
        """Raise UsageError for a value that cannot work."""
        _above_zero(self, "learning_rate", "head_rate")
        _not_negative(self, "momentum", "weight_decay")
        for name in ("name", "schedule"):
            _checked(OptimizerConfig, name, getattr(self, name))


@dataclass(frozen=True)
class MuonConfig:
    """How the weights are updated at speed: Muon for the filters, SGD with Nesterov momentum for head and biases.

    All rates fall linearly from the first step to zero at the last. The defaults are those of airbench94_muon (Jordan
    2024), whose loss is the sum over 2,000 images: rates of 0.67 and 0.053 for head and biases there are 2,000 times
    as large for the mean.

    Args:
        name: the optimizer's.
        learning_rate: of the filters, at the start.
        momentum: of the filters.
        head_rate: learning rate of the head, for the mean of the loss over the batch.
        bias_rate: learning rate of the biases, likewise.
        sgd_momentum: of head and biases.
        weight_decay: share by which head and biases shrink in a step.
        whitening_epochs: in which the bias of the whitening layer learns; then it stays.
        frozen_stages: how many of the network's first stages stop learning before the others, so that the rest of the
            training costs less. (Brock et al. 2017, "FreezeOut", arXiv 1706.04983.)
        freeze_at: share of the training at which their rates have fallen to zero.
    """

    name: Literal["muon"] = "muon"
    learning_rate: float = 0.24
    momentum: float = 0.6
    head_rate: float = 1340.0
    bias_rate: float = 106.0
    sgd_momentum: float = 0.85
    weight_decay: float = 0.004
    whitening_epochs: float = 3.0
    frozen_stages: int = 0
    freeze_at: float = 1.0

    def check(self) -> None:
        """Raise UsageError for a value that cannot work."""
        _above_zero(self, "learning_rate", "head_rate", "bias_rate")
        _not_negative(self, "momentum", "sgd_momentum", "weight_decay", "whitening_epochs", "frozen_stages")
        if not 0 < self.freeze_at <= 1:
            raise UsageError(f"optimizer.freeze_at must be above 0 and at most 1, not {self.freeze_at}")


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
        _checked(Recipe, "views", self.views)
        if not 0 <= self.views_margin <= 1:
            raise UsageError(f"views_margin must be at least 0 and at most 1, not {self.views_margin}")
        self.optimizer.check()
        self.network.check()

    def to_dict(self) -> dict[str, Any]:
        """Return plain nested dictionaries, as `recipe.yaml` holds them."""
        return asdict(self)

    def flat(self) -> dict[str, Any]:
        """Return one level of dotted names, as loggers and tables show them."""
        return _flatten(self.to_dict())

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


def from_dict(cls: type, values: Any) -> Any:
    """Build a frozen configuration from plain nested dictionaries; unknown names and wrong types are errors.

    >>> from_dict(OptimizerConfig, {"learning_rate": 0.1}).learning_rate
    0.1
    """
    if not isinstance(values, dict):
        raise TypeError(f"{cls.__name__} needs named values, not {type(values).__name__}")
    known = {each.name: each for each in fields(cls)}
    unknown = set(values) - set(known)
    if unknown:
        raise TypeError(f"{cls.__name__} has no {', '.join(sorted(map(str, unknown)))}")
    values = {name: _checked(cls, name, value) for name, value in values.items()}
    nested = {name: _nested_type(cls, name, values[name]) for name in values if is_dataclass(known[name].default)}
    return cls(**{name: from_dict(nested[name], v) if name in nested else v for name, v in values.items()})


def _nested_type(cls: type, name: str, values: Any) -> type:
    """The configuration that nested values are of: where a field admits several, their `name` tells."""
    hint = get_type_hints(cls)[name]
    wanted = values.get("name") if isinstance(values, dict) else None
    if wanted is None or not get_args(hint):
        return type(next(each.default for each in fields(cls) if each.name == name))
    names = {value: each for each in get_args(hint) for value in get_args(get_type_hints(each)["name"])}
    if wanted not in names:
        raise UsageError(f"{name}.name must be one of {', '.join(names)}, not {reprlib.repr(wanted)}")
    return names[wanted]


def _above_zero(config: Any, *names: str) -> None:
    for name in names:
        if not 0 < getattr(config, name) < math.inf:
            raise UsageError(f"optimizer.{name} must be above 0, not {getattr(config, name)}")


def _not_negative(config: Any, *names: str) -> None:
    for name in names:
        if not 0 <= getattr(config, name) < math.inf:
            raise UsageError(f"optimizer.{name} must be 0 or more, not {getattr(config, name)}")


def _checked(cls: type, name: str, value: Any) -> Any:
    """Return the value in the field's declared type, or refuse it: what YAML makes of a text can be of any type."""
    kind = get_type_hints(cls)[name]
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise UsageError(
                f"{cls.__name__}.{name} must be one of {', '.join(map(str, get_args(kind)))}, not {reprlib.repr(value)}"
            )
    elif kind in (bool, int, float, str):
        admitted = (int, float) if kind is float else (kind,)
        if type(value) not in admitted:
            raise UsageError(f"{cls.__name__}.{name} must be of type {kind.__name__}, not {reprlib.repr(value)}")
        return kind(value)
    return value


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
