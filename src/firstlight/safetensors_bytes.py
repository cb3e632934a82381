"""Tensors as the content of a safetensors file, always the same bytes for the same values."""

from __future__ import annotations

import json
from collections.abc import Mapping

from safetensors.torch import save
from torch import Tensor

_ALIGNMENT = 8  # the header is padded with spaces, so that the tensors start at a multiple of 8 bytes


def safetensors_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Return the content of a safetensors file with its metadata in the order of their names.

    The library writes the metadata in an order that changes from process to process, so that the files of two equal
    trainings could not be compared by their digests.

    Args:
        tensors: Contiguous tensors by name.
        metadata: Texts by name.

    >>> import torch
    >>> content = safetensors_bytes({"weight": torch.zeros(2)}, {"b": "1", "a": "2"})
    >>> content[8:39].decode()
    '{"__metadata__":{"a":"2","b":"1'
    """
    content = save(dict(tensors), dict(metadata))
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = dict(sorted(metadata.items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text + content[8 + length :]
