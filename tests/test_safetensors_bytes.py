"""Equal values give equal bytes, which the library reads."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load

from firstlight.safetensors_bytes import safetensors_bytes

NAMES = ("recipe", "class_names", "size_px", "temperature", "format", "calibration", 'ä "quoted" \n')


def test_the_library_reads_tensors_and_metadata(tmp_path: Path) -> None:
    tensors = {
        "b.weight": torch.randn(3, 5),
        "a": torch.arange(7),
        "half": torch.randn(3).half(),
        "none": torch.zeros(0),
    }
    metadata = {name: f"value of {name}" for name in NAMES}
    path = tmp_path / "w.safetensors"
    path.write_bytes(safetensors_bytes(tensors, metadata))
    with safe_open(path, framework="pt") as content:
        assert content.metadata() == metadata
        for name, tensor in tensors.items():
            assert content.get_tensor(name).equal(tensor)
    assert load(path.read_bytes()).keys() == tensors.keys()


@pytest.mark.parametrize("order", [1, -1])
def test_the_bytes_do_not_depend_on_the_order_of_the_metadata(order: int) -> None:
    tensors = {"a": torch.arange(4.0), "b": torch.arange(3)}
    metadata = {name: name for name in NAMES[::order]}
    digests = {hashlib.sha256(safetensors_bytes(tensors, metadata)).hexdigest() for _ in range(20)}
    assert digests == {hashlib.sha256(safetensors_bytes(tensors, dict(sorted(metadata.items())))).hexdigest()}
