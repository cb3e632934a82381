"""Configurations of the networks. Imports no PyTorch, so that recipes are listed and checked quickly."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from firstlight.errors import UsageError

NUM_PATCH_VALUES = 12  # number of values in a 2x2 patch of RGB pixels
MAX_WIDTH = 1024  # a ResNet9 of this width has 1.7 billion parameters
NUM_GROUPS = 3  # number of groups in a SpeedNet
RESERVED_ARGUMENTS = ("num_classes", "mean", "std")  # firstlight passes these to a network class; they are not options
IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


@dataclass(frozen=True)
class ResNet9Config:
    """Configuration of a `ResNet9`.

    Args:
        width: Number of channels of the first stage. The later stages have 2, 4 and 8 times as many.
        name: "resnet9".
    """

    width: int = 64
    name: Literal["resnet9"] = "resnet9"

    def check(self) -> None:
        """Raise UsageError for a value that cannot work."""
        _check_width(self.width)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary of plain values."""
        return asdict(self)


@dataclass(frozen=True)
class SpeedNetConfig:
    """Configuration of a `SpeedNet`.

    Args:
        width: Number of channels of the first group. The second and third group have 4 times as many.
        head_scale: Factor that multiplies the features before the head.
        norm_momentum: Weight of the current batch in the running statistics of batch norm. Short trainings need a
            large value; small batches need a smaller one than batches of 2,000.
        patch_directions: Number of whitened patch directions, 1 to 12, in order of decreasing variance. The last ones
            are mostly noise.
        pad_patches: Whether to pad the image by one row below and one column at the right, in the mean colour. The maps
            then have sides of 32, 16, 8 and 4 pixels instead of 31, 15, 7 and 3.
        deep_groups: Number of groups, counted from the last, that have a third convolution and a shortcut around the
            second and third. The last maps are small, so a third convolution costs little there.
        name: "speednet".
    """

    width: int = 64
    head_scale: float = 1 / 256
    norm_momentum: float = 0.4
    patch_directions: int = NUM_PATCH_VALUES
    pad_patches: bool = False
    deep_groups: int = 0
    name: Literal["speednet"] = "speednet"

    def check(self) -> None:
        """Raise UsageError for a value that cannot work."""
        _check_width(self.width)
        if not 0 < self.head_scale < math.inf:
            raise UsageError(f"network.head_scale must be above 0, not {self.head_scale}")
        if not 0 < self.norm_momentum <= 1:
            raise UsageError(f"network.norm_momentum must be above 0 and at most 1, not {self.norm_momentum}")
        if not 0 <= self.deep_groups <= NUM_GROUPS:
            raise UsageError(f"network.deep_groups must be 0 to {NUM_GROUPS}, not {self.deep_groups}")
        if not 1 <= self.patch_directions <= NUM_PATCH_VALUES:
            raise UsageError(
                f"network.patch_directions must be 1 to {NUM_PATCH_VALUES}, the number of values in a patch, not "
                f"{self.patch_directions}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary of plain values."""
        return asdict(self)


@dataclass(frozen=True)
class CustomNetworkConfig:
    """Configuration of a network class outside firstlight: its import path and its options.

    Args:
        name: Import path of the class, "package.module:Class".
        options: Keyword arguments of the class other than `num_classes`, `mean` and `std`, as numbers, text, booleans,
            None, and lists or dictionaries of these. Tuples become lists, as in YAML.

    >>> CustomNetworkConfig("my_networks:Plain", {"width": 8}).to_dict()
    {'name': 'my_networks:Plain', 'width': 8}
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", _with_lists(self.options))

    @staticmethod
    def from_values(values: dict[str, Any]) -> CustomNetworkConfig:
        """Build a configuration from one dictionary of name and options, as `recipe.yaml` holds it."""
        return CustomNetworkConfig(values["name"], {key: value for key, value in values.items() if key != "name"})

    @staticmethod
    def of(network_class: type, **options: Any) -> CustomNetworkConfig:
        """Build a configuration from the class itself.

        >>> from collections import OrderedDict
        >>> CustomNetworkConfig.of(OrderedDict).name
        'collections:OrderedDict'
        """
        return CustomNetworkConfig(f"{network_class.__module__}:{network_class.__qualname__}", options)

    @property
    def module(self) -> str:
        """Name of the module that defines the class."""
        return self.name.partition(":")[0]

    def check(self) -> None:
        """Raise UsageError for a name or an option that cannot work."""
        if not IMPORT_PATH.fullmatch(self.name):
            raise UsageError(f"network.name must be an import path package.module:Class, not {self.name[:80]!r}")
        for key, value in self.options.items():
            if not isinstance(key, str) or not key.isidentifier() or key in ("name", *RESERVED_ARGUMENTS):
                raise UsageError(f"network.{str(key)[:80]}: no option of a network can have this name")
            if not _is_plain(value):
                raise UsageError(
                    f"network.{key} must be a number, text, a boolean, None, or a list or dictionary of these, not "
                    f"{type(value).__name__}"
                )

    def to_dict(self) -> dict[str, Any]:
        """Return name and options as one dictionary of plain values."""
        return {"name": self.name} | self.options


NetworkConfig = ResNet9Config | SpeedNetConfig | CustomNetworkConfig
BUILT_IN: dict[str, type[ResNet9Config] | type[SpeedNetConfig]] = {"resnet9": ResNet9Config, "speednet": SpeedNetConfig}


def default_network_config(name: str) -> NetworkConfig:
    """Return the configuration of a network by name, with every option at its default.

    Args:
        name: "resnet9", "speednet", or the import path of a class, "package.module:Class".

    Raises:
        UsageError: There is no such network.

    >>> default_network_config("speednet").width
    64
    """
    if name in BUILT_IN:
        return BUILT_IN[name]()
    if ":" not in name:
        raise UsageError(
            f"network.name must be one of {', '.join(BUILT_IN)}, or package.module:Class for a class of your own, not "
            f"{name!r}"
        )
    config = CustomNetworkConfig(name)
    config.check()
    return config


def _check_width(width: int) -> None:
    if not 1 <= width <= MAX_WIDTH:
        raise UsageError(f"network.width must be 1 to {MAX_WIDTH:,}, not {width:,}")


def _with_lists(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_with_lists(each) for each in value]
    return {key: _with_lists(each) for key, each in value.items()} if isinstance(value, dict) else value


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(_is_plain(each) for each in value)
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(each) for key, each in value.items())
    return value is None or isinstance(value, bool | int | float | str)
