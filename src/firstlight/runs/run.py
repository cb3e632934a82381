"""Run: the folder that a training leaves, and everything that is read from it."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from firstlight.compiled import plain_name
from firstlight.data.decisions import Decisions
from firstlight.data.images import ImageSet
from firstlight.errors import RunError
from firstlight.evaluation.calibration import Calibration
from firstlight.evaluation.predictions import Predictions
from firstlight.files import regular_file, write_atomic
from firstlight.networks import StagedNetwork, build_network
from firstlight.paths import user_path
from firstlight.recipes.config import Recipe
from firstlight.runs.checkpoints import CheckpointFolder
from firstlight.runs.predictor import ModelDescription, Predictor
from firstlight.runs.run_files import (
    CalibrationFields,
    ClassNames,
    EnvironmentFields,
    ResultsFields,
    SizePx,
    Temperature,
)
from firstlight.safetensors_bytes import safetensors_bytes
from firstlight.typed_json import FieldError, check, read_json

# Cached properties of a run that are read from `model.safetensors`.
DECISIONS_FILE = "decisions.csv"
WEIGHTS_PROPERTIES = ("metadata", "class_names", "size_px", "network", "temperature", "calibration")

ADVICE = "train again or restore the file"


class Run(Predictor):
    """A run folder: `recipe.yaml`, `model.safetensors`, `environment.json`, `predictions.npz` and so on.

    Each file is read when it is first used.

    Args:
        path: Path of the folder.

    Raises:
        RunError: The folder holds no run.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = user_path(path)
        if not self.path.is_dir():
            raise RunError(f"{path} is not a run: there is no such folder. Name a folder that `firstlight fit` wrote.")
        if not (self.path / "recipe.yaml").is_file():
            raise RunError(f"{path} is not a run: it has no recipe.yaml. Name a folder that `firstlight fit` wrote.")

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @property
    def weights_path(self) -> Path:
        """`model.safetensors`: weights, class names and temperature."""
        return self.path / "model.safetensors"

    @property
    def checkpoints(self) -> CheckpointFolder:
        """`checkpoints/`, from which a training is resumed; a finished run needs none."""
        return CheckpointFolder(self.path / "checkpoints")

    @property
    def is_finished(self) -> bool:
        """Whether the run is complete: `results.json` is written last."""
        return (self.path / "results.json").is_file()

    @cached_property
    def recipe(self) -> Recipe:
        """Recipe of the run."""
        return Recipe.load(self.path / "recipe.yaml")

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Versions, hardware, commit, and the name, path and digests of the data set."""
        return read_json(self.path / "environment.json", EnvironmentFields, ADVICE)

    @property
    def data(self) -> dict[str, Any]:
        """Name, path, sizes and digests of the run's data set.

        Raises:
            RunError: The run does not name its data set.
        """
        known = self.environment.get("data")
        if not isinstance(known, dict) or "place" not in known:
            raise RunError(f"{self.path}/environment.json: does not name the data set of the run; train again")
        return known

    @cached_property
    def results(self) -> dict[str, Any]:
        """Final accuracies, losses and durations in seconds."""
        return read_json(self.path / "results.json", ResultsFields, ADVICE)

    @cached_property
    def predictions(self) -> Predictions:
        """Predictions of the test images.

        Raises:
            RunError: The run has not been tested, or the file is damaged.
        """
        path = self.path / "predictions.npz"
        if not path.is_file():
            raise RunError(
                f"{self.path} has not been tested: it has no predictions.npz. Run: firstlight test {self.path}"
            )
        found = Predictions.load(path)
        if self.weights_path.is_file() and found.logits.shape[1] != len(self.class_names):
            expected = f"{len(self.class_names)} columns, one for each class"
            raise RunError(f"{path}: logits must have {expected}; run `firstlight test` again")
        return found

    @cached_property
    def decisions(self) -> Decisions | None:
        """Decisions of an audit that changed the run's data; None if there were none.

        Raises:
            RunError: The file is missing, or is not the one that the run was trained with.
        """
        digest = self.data.get("decisions") if (self.path / "environment.json").is_file() else None
        if digest is None:
            return None
        path = self.path / DECISIONS_FILE
        if not path.is_file() or (found := Decisions.read(path)).digest != digest:
            raise RunError(f"{path}: is missing or was changed, so the images of the run are not known")
        return found

    @property
    def calibrated_predictions(self) -> Predictions:
        """Predictions of the test images, with logits divided by the run's temperature.

        Raises:
            RunError: The run has not been tested, or a file is damaged.
        """
        return self.predictions.calibrated(self.temperature)

    @cached_property
    def metadata(self) -> dict[str, str]:
        """Metadata of `model.safetensors`."""
        with self._weights() as weights:
            return dict(weights.metadata() or {})

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """Name of each class, in the order of the logits."""
        found = self._from_metadata("class_names", ClassNames)
        if not found:
            raise RunError(f"{self.weights_path}: class_names is empty; train the run again")
        return tuple(found)

    @cached_property
    def size_px(self) -> tuple[int, int]:
        """Height and width of the training images, in pixels."""
        height, width = self._from_metadata("size_px", SizePx)
        return height, width

    @cached_property
    def network(self) -> StagedNetwork:
        """Trained network in eval mode, on the CPU, in float32."""
        # The network is cached, so its weights must be ordinary tensors even if this runs within inference_mode.
        with torch.inference_mode(mode=False):
            network = build_network(len(self.class_names), self.recipe.network)
            expected = network.state_dict()
            try:
                with self._weights() as weights:
                    state = {name: weights.get_tensor(name).to(like.dtype) for name, like in expected.items()}
                network.load_state_dict(state)
            except (SafetensorError, RuntimeError) as error:
                raise RunError(f"{self.weights_path}: does not fit the network of {self.path}/recipe.yaml") from error
            return network.eval()

    @cached_property
    def temperature(self) -> float:
        """Divisor of the logits before the softmax."""
        return float(self._from_metadata("temperature", Temperature))

    @cached_property
    def calibration(self) -> Calibration | None:
        """Temperature and novelty threshold; None if the run has no validation images or is of an older version."""
        if "calibration" not in self.metadata:
            return None
        found = self._from_metadata("calibration", CalibrationFields)
        return Calibration(float(found["temperature"]), float(found["novelty_threshold"]), found["num_images"])

    @property
    def novelty_threshold(self) -> float | None:
        """Energy above which a picture is unlike the training data; None if it was not measured."""
        return None if self.calibration is None else self.calibration.novelty_threshold

    @property
    def description(self) -> ModelDescription:
        """The run's folder, recipe, data set and test accuracy."""
        data = self.data.get("name") if (self.path / "environment.json").is_file() else None
        accuracy = self.results.get("test_acc") if self.is_finished else None
        return ModelDescription(str(self.path), self.recipe.name, data, accuracy, self.calibration is not None)

    def save_weights(self, network: nn.Module, images: ImageSet, calibration: Calibration | None = None) -> None:
        """Write the weights to `model.safetensors`, with class names, image size, recipe and calibration as metadata.

        Args:
            network: Network with the weights.
            images: Images of the size and the classes that it was trained on.
            calibration: Calibration of the network; None writes temperature 1 and no novelty threshold.
        """
        metadata = {
            "format": "pt",
            "class_names": json.dumps(images.class_names),
            "size_px": json.dumps(images.size_px),
            "temperature": json.dumps(calibration.temperature if calibration else 1.0),
            "recipe": json.dumps(self.recipe.to_dict()),
        }
        if calibration is not None:
            metadata["calibration"] = json.dumps(asdict(calibration))
        write_atomic(self.weights_path, safetensors_bytes(_plain_state(network), metadata))
        for name in WEIGHTS_PROPERTIES:  # the next use reads the new file
            self.__dict__.pop(name, None)

    def holds_weights(self, network: nn.Module) -> bool:
        """Return whether `model.safetensors` already has the weights of a network, trained by the run's recipe."""
        if not self.weights_path.is_file() or self.metadata.get("recipe") != json.dumps(self.recipe.to_dict()):
            return False
        state = _plain_state(network)
        with self._weights() as weights:
            names = set(weights.keys())
            return names == state.keys() and all(weights.get_tensor(name).equal(state[name]) for name in names)

    def save_json(self, name: str, content: dict[str, Any]) -> None:
        """Write a JSON file of the folder."""
        write_atomic(self.path / name, json.dumps(content, indent=2) + "\n")
        self.__dict__.pop(Path(name).stem, None)  # the next use reads the new file

    def _weights(self) -> Any:
        if not self.weights_path.is_file():
            raise RunError(f"{self.path} has no model.safetensors: its training did not end, or the file was removed")
        try:
            return safe_open(regular_file(self.weights_path), framework="pt")
        except (OSError, SafetensorError) as error:
            raise RunError(
                f"{self.weights_path}: cannot be read as weights; train again or restore the file"
            ) from error

    def _from_metadata(self, name: str, kind: Any) -> Any:
        try:
            found = json.loads(self.metadata[name])
        except (KeyError, ValueError, RecursionError) as error:
            raise RunError(
                f"{self.weights_path}: has no {name} in its metadata; it was not written by firstlight"
            ) from error
        try:
            check(found, kind, name)
        except FieldError as error:
            raise RunError(f"{self.weights_path}: {error}, in its metadata; {ADVICE}") from error
        return found


def _plain_state(network: nn.Module) -> dict[str, Tensor]:
    """Return the weights of a network, compiled or not, as contiguous tensors on the CPU."""
    return {plain_name(name): tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}


def load(path: Path | str) -> Run:
    """Open a run folder: `firstlight.load("logs/demo/version_0").predict("photo.jpg")`.

    Raises:
        RunError: The folder holds no run.
    """
    return Run(path)


def latest_run(logs_dir: Path | str) -> Run:
    """Return the complete run in `logs_dir` whose weights are the newest.

    Raises:
        RunError: The folder holds no complete run.
    """
    folders = [path.parent for path in user_path(logs_dir).glob("*/*/model.safetensors")]
    found = [folder for folder in folders if (folder / "results.json").is_file()]
    if not found:
        raise RunError(f"no run in {logs_dir}: make one with `firstlight demo`, or name a run folder")
    return Run(max(found, key=lambda folder: (folder / "model.safetensors").stat().st_mtime))
