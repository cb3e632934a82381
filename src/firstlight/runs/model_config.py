"""`config.json` of shared weights: the network to build, its classes and input size, and its calibration."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

import torch

from firstlight.errors import RunError, UsageError
from firstlight.files import read_text, write_atomic
from firstlight.networks import ResNet9Config, SpeedNetConfig, StagedNetwork, build_network
from firstlight.networks.network_config import CustomNetworkConfig, NetworkConfig
from firstlight.paths import has_control_characters
from firstlight.typed_json import Between, Count, PathText, check

NAME = "config.json"
ARCHITECTURES: dict[str, type[ResNet9Config] | type[SpeedNetConfig]] = {
    "ResNet9": ResNet9Config,
    "SpeedNet": SpeedNetConfig,
}
MAX_BYTES = 1_000_000
MAX_WIDTH = 4096
MAX_SIDE_PX = 4096
_SidePx = Annotated[int, Between(1, MAX_SIDE_PX)]


class RecipeFacts(TypedDict):
    """What pages and cards show of a recipe."""

    name: NotRequired[str]
    data: NotRequired[PathText]
    max_epochs: NotRequired[Count]
    num_val: NotRequired[Count]


class ConfigFields(TypedDict):
    """`config.json`."""

    architecture: str
    network: dict[str, Any]
    class_names: list[str]
    size_px: tuple[_SidePx, _SidePx]
    temperature: Annotated[float, Between(1e-6, 1e6)]
    novelty_threshold: NotRequired[float | None]
    recipe: NotRequired[RecipeFacts]


@dataclass(frozen=True)
class ModelConfig:
    """Everything that opening a model needs besides its weights.

    Args:
        network: Configuration of the network.
        class_names: Names of the classes, in the order of the logits.
        size_px: Height and width of the training images.
        temperature: Divisor of the logits before the softmax.
        novelty_threshold: Energy above which an image counts as unlike the training data; None if not measured.
        recipe: Complete configuration of the training, for information.
    """

    network: NetworkConfig
    class_names: tuple[str, ...]
    size_px: tuple[int, int]
    temperature: float = 1.0
    novelty_threshold: float | None = None
    recipe: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.network, CustomNetworkConfig):
            raise UsageError(
                f"the network {self.network.name} cannot be exported, because the exported folder holds no code: "
                f"only {' and '.join(ARCHITECTURES)} can. An ONNX file holds the whole network: export it --to onnx"
            )
        if not 1 <= self.network.width <= MAX_WIDTH:
            raise ValueError(f"width {self.network.width}")
        if not self.class_names:
            raise ValueError("class_names is empty")
        if any(map(has_control_characters, self.class_names)):
            raise ValueError("a class name has control characters")
        if not all(1 <= side <= MAX_SIDE_PX for side in self.size_px):
            raise ValueError(f"size_px {self.size_px}")
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature {self.temperature}")

    @property
    def architecture(self) -> str:
        """Name of the network's class."""
        return next(name for name, kind in ARCHITECTURES.items() if isinstance(self.network, kind))

    def empty_network(self) -> StagedNetwork:
        """Return the network on the meta device, which allocates no weights."""
        with torch.device("meta"):
            return build_network(len(self.class_names), self.network)

    def save(self, folder: Path) -> None:
        """Write `config.json`."""
        content = {"library": "firstlight", "architecture": self.architecture} | asdict(self)
        write_atomic(folder / NAME, json.dumps(content, indent=2) + "\n")

    @staticmethod
    def load(folder: Path) -> ModelConfig:
        """Read `config.json`.

        Raises:
            RunError: The file is missing, was not written by firstlight, or contains an invalid value.
        """
        path = folder / NAME
        try:
            return _parse(json.loads(read_text(path, MAX_BYTES)))
        except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise RunError(f"{path}: cannot be used ({reason}). Export the model again.") from error


def _parse(found: Any) -> ModelConfig:
    check(found, ConfigFields, "")
    height, width = found["size_px"]
    threshold = found.get("novelty_threshold")
    return ModelConfig(
        network=_parse_network(found.get("architecture"), found["network"]),
        class_names=tuple(found["class_names"]),
        size_px=(height, width),
        temperature=float(found["temperature"]),
        novelty_threshold=None if threshold is None else float(threshold),
        recipe=dict(found.get("recipe", {})),
    )


def _parse_network(architecture: Any, values: Any) -> NetworkConfig:
    if architecture not in ARCHITECTURES:
        raise ValueError(f"firstlight has no network {str(architecture)[:40]!r}")
    kind = ARCHITECTURES[architecture]
    defaults = {each.name: each.default for each in fields(kind)}
    for name, value in dict(values).items():
        if type(value) is not type(defaults.get(name)) or (name == "name" and value != defaults["name"]):
            raise TypeError(f"network.{str(name)[:40]}")
    return kind(**values)
