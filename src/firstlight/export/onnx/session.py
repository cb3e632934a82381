"""Run an exported ONNX model with ONNX Runtime."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from firstlight.arrays import Images, Labels

BATCH_SIZE = 64


class OnnxModel:
    """A session of ONNX Runtime on the CPU, with as many threads as PyTorch.

    Args:
        source: The serialized model, or the path of its file.
    """

    def __init__(self, source: bytes | str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors only
        self._session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        self._names = [output.name for output in self._session.get_outputs()]

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata of the file: text, or the content of JSON."""
        return {name: _parse(text) for name, text in self._session.get_modelmeta().custom_metadata_map.items()}

    def run_pictures(
        self, pictures: np.ndarray, classes: np.ndarray, method: int = 0, stage: int = -1
    ) -> dict[str, np.ndarray]:
        """Return all outputs by name, for pictures of any size.

        Args:
            pictures: RGB, uint8 [n h w 3].
            classes: Class to explain, int64 [n]; -1 for the predicted one.
            method: Index of the method.
            stage: Index of the stage.
        """
        inputs = {"image": pictures, "target": classes, "method": np.array(method), "stage": np.array(stage)}
        return dict(zip(self._names, self._session.run(None, inputs), strict=True))

    def run(self, images: Images, classes: Labels, method: int = 0, stage: int = -1) -> dict[str, Tensor]:
        """Return all outputs by name for images of the network's input size, uint8 [n 3 h w], computed in batches."""
        batches = []
        for pixels, targets in zip(images.split(BATCH_SIZE), classes.split(BATCH_SIZE), strict=True):
            batches.append(self.run_pictures(pixels.permute(0, 2, 3, 1).numpy(), targets.numpy(), method, stage))
        return {name: torch.from_numpy(np.concatenate([each[name] for each in batches])) for name in self._names}


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
