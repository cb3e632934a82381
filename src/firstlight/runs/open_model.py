"""Open a trained model by its name: a run, an exported folder, the bundled model or a model on a hub."""

from __future__ import annotations

from pathlib import Path

from firstlight.data.download.archives import sha256_of
from firstlight.networks.network_config import NetworkConfig
from firstlight.paths import user_path
from firstlight.runs.pretrained import BUNDLED_NAME, BUNDLED_PATH, WEIGHTS_NAME, Pretrained
from firstlight.runs.run import Run

Model = Run | Pretrained


def open_model(name: Path | str) -> Model:
    """Open a run folder, a folder that `export` wrote, "bundled", or a model on the Hugging Face hub ("user/model").

    Raises:
        RunError: There is no model of this name, or its files are damaged.
        MissingPackageError: The model is on the hub, and the package huggingface_hub is not installed.
        DataError: The hub cannot be reached or has no such model.
    """
    if name == BUNDLED_NAME:
        return Pretrained(BUNDLED_PATH)
    return Run(name) if (user_path(name) / "recipe.yaml").is_file() else Pretrained.from_pretrained(name)


def lasting_name(name: Path | str) -> str:
    """Return a name that stays valid in another working directory: the absolute path of a local folder."""
    folder = user_path(name)
    return str(folder.absolute()) if name != BUNDLED_NAME and folder.exists() else str(name)


def network_config_of(model: Model) -> NetworkConfig:
    """Return the configuration of a model's network."""
    return model.recipe.network if isinstance(model, Run) else model.config.network


def weights_digest(model: Model) -> str:
    """Return the SHA-256 digest of a model's weights file."""
    return sha256_of(model.path / WEIGHTS_NAME)
