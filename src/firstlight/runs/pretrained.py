"""Pretrained: a trained network in a folder with half-precision weights and `config.json`, as model hubs keep it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from firstlight.errors import DataError, MissingPackageError, RunError
from firstlight.extras import install_command
from firstlight.files import atomic, regular_file
from firstlight.networks import StagedNetwork
from firstlight.paths import OFFLINE, user_path
from firstlight.runs.model_config import NAME as CONFIG_NAME
from firstlight.runs.model_config import ModelConfig
from firstlight.runs.predictor import ModelDescription, Predictor

WEIGHTS_NAME = "model.safetensors"
BUNDLED_NAME = "bundled"  # name of this model on the command line
BUNDLED_PATH = Path(__file__).parent.parent / "bundled"  # the model that comes with the package
_ON_A_HUB = re.compile(r"[\w.-]+/[\w.-]+")


class Pretrained(Predictor):
    """A trained network in a folder of its own: `model.safetensors` and `config.json`.

    Files are read when they are first needed.

    Args:
        path: Path of the folder.

    Raises:
        RunError: The folder contains no model.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = user_path(path)
        for name in (CONFIG_NAME, WEIGHTS_NAME):
            if not (self.path / name).is_file():
                raise RunError(f"{path} holds no {name}: name a folder that `firstlight export` wrote")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    @classmethod
    def from_pretrained(cls, path_or_name: Path | str) -> Pretrained:
        """Open a local folder, or a model on the Hugging Face hub by its name ("user/model").

        Raises:
            RunError: The folder contains no model.
            MissingPackageError: The model is on the hub, and the package huggingface_hub is not installed.
            DataError: The hub cannot be reached or has no such model.
        """
        if not user_path(path_or_name).exists() and isinstance(path_or_name, str) and _ON_A_HUB.fullmatch(path_or_name):
            return cls(_from_hub(path_or_name))
        return cls(path_or_name)

    @cached_property
    def config(self) -> ModelConfig:
        """Content of `config.json`."""
        return ModelConfig.load(self.path)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits."""
        return self.config.class_names

    @property
    def size_px(self) -> tuple[int, int]:
        """Height and width of the training images."""
        return self.config.size_px

    @property
    def temperature(self) -> float:
        """Divisor of the logits before the softmax."""
        return self.config.temperature

    @property
    def novelty_threshold(self) -> float | None:
        """Energy above which a picture is unlike the training data; None if it was not measured."""
        return self.config.novelty_threshold

    @property
    def description(self) -> ModelDescription:
        """The model's folder, and the recipe and the data set of its training."""
        recipe, data = (self.config.recipe.get(name) for name in ("name", "data"))
        return ModelDescription(str(self.path), recipe, data, None, self.config.novelty_threshold is not None)

    @cached_property
    def network(self) -> StagedNetwork:
        """The trained network in evaluation mode, on the CPU, in float32."""
        with torch.inference_mode(mode=False):
            network = self.config.empty_network()
            network.load_state_dict(self._state(network.state_dict()), assign=True)
            return network.eval()

    def _state(self, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
        try:
            with safe_open(regular_file(self.path / WEIGHTS_NAME), framework="pt") as weights:
                state = {name: weights.get_tensor(name).to(like.dtype) for name, like in expected.items()}
        except (OSError, SafetensorError) as error:
            raise RunError(f"{self.path / WEIGHTS_NAME}: cannot be read as the network's weights") from error
        for name, like in expected.items():
            if state[name].shape != like.shape:
                raise RunError(f"{self.path / WEIGHTS_NAME}: {name} does not fit {self.path / CONFIG_NAME}")
        return state


def save_pretrained(folder: Path, config: ModelConfig, state: Mapping[str, Tensor]) -> Pretrained:
    """Write `config.json` and `model.safetensors`, the weights in half precision.

    Args:
        folder: Folder to write to; created if it does not exist.
        config: Configuration of the model.
        state: State dict of the model's network.
    """
    config.save(folder)
    half = {name: _half(tensor) for name, tensor in state.items()}
    with atomic(folder / WEIGHTS_NAME) as temporary:
        save_file(half, temporary, {"format": "pt"})
    return Pretrained(folder)


def _half(tensor: Tensor) -> Tensor:
    tensor = tensor.detach().cpu()
    if not tensor.is_floating_point():
        return tensor.contiguous()
    half = tensor.half()
    if not torch.isfinite(half).all():
        raise RunError("the weights contain numbers too large for half precision: this model cannot be exported")
    return half.contiguous()


def _from_hub(name: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f"there is no folder {name}; to load a model from the hub, {install_command('hub')}"
        ) from error
    try:
        offline = os.environ.get(OFFLINE, "") not in ("", "0", "no")
        return Path(snapshot_download(name, allow_patterns=[CONFIG_NAME, WEIGHTS_NAME], local_files_only=offline))
    except (HfHubHTTPError, LocalEntryNotFoundError, HFValidationError, OSError) as error:
        raise DataError(f"there is no folder {name}, and the hub has no such model ({type(error).__name__})") from error
