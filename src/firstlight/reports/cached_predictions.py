"""Predictions for the training images, kept in the cache folder so that a second report need not compute them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path

import torch

from firstlight.data.batches import to_unit
from firstlight.data.images import ImageSet
from firstlight.errors import RunError, WriteError
from firstlight.evaluation.predictions import Predictions
from firstlight.modes import in_evaluation
from firstlight.networks import StagedNetwork
from firstlight.paths import cache_dir

BATCH_SIZE = 256
FORMAT = 1  # increased whenever `predict_images` computes other values
MAX_BYTES = 500_000_000  # of all cached predictions; those of CIFAR-10 by ResNet9 take 104 MB


def cached_predictions(
    network: StagedNetwork,
    images: ImageSet,
    *,
    is_bfloat16: bool = False,
    on_image: Callable[[int, int], None] | None = None,
) -> Predictions:
    """Return the predictions of `predict_images` from the cache folder, or compute them and write them there.

    A file of the cache is used only for the same weights, layers, pixels, labels, precision and version of PyTorch. If
    all files together exceed `MAX_BYTES`, those used longest ago are removed. If the cache folder cannot be written,
    the predictions are computed each time.

    Args:
        network: Network that returns logits, on the CPU.
        images: Images.
        is_bfloat16: Whether to compute in bfloat16; see `predict_images`.
        on_image: Called with the number of images done and of all images, after each batch.
    """
    path = cache_path(network, images, is_bfloat16=is_bfloat16)
    with suppress(RunError):  # the file is missing or damaged
        found = Predictions.load(path)
        if found.labels.equal(images.labels) and found.ids.equal(images.ids):
            with suppress(OSError):
                os.utime(path)
            return replace(found, file_names=images.file_names)
    found = predict_images(network, images, is_bfloat16=is_bfloat16, on_image=on_image)
    with suppress(WriteError, OSError):
        found.save(path)
        remove_oldest(path.parent, MAX_BYTES)
    return found


def cache_path(network: StagedNetwork, images: ImageSet, *, is_bfloat16: bool) -> Path:
    """Return the path of the cache file for a network and images; its name is a digest of all that determines it."""
    sha = hashlib.sha256(repr((FORMAT, torch.__version__, is_bfloat16, network)).encode())
    for name, tensor in network.state_dict().items():
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    sha.update(images.digest().encode())
    sha.update(images.ids.contiguous().numpy().data)
    return cache_dir() / "predictions" / f"{sha.hexdigest()[:32]}.npz"


def remove_oldest(folder: Path, max_bytes: int) -> None:
    """Remove the files of a folder that were used longest ago until the others take at most `max_bytes`.

    The newest file is always kept.
    """
    files = sorted(folder.glob("*.npz"), key=lambda file: file.stat().st_mtime, reverse=True)
    total = 0
    for number, file in enumerate(files):
        total += file.stat().st_size
        if number and total > max_bytes:
            file.unlink(missing_ok=True)


def predict_images(
    network: StagedNetwork,
    images: ImageSet,
    *,
    is_bfloat16: bool = False,
    on_image: Callable[[int, int], None] | None = None,
) -> Predictions:
    """Compute logits and features of images without augmentation, in eval mode.

    Args:
        network: Network that returns logits, on the CPU.
        images: Images.
        is_bfloat16: Whether to compute in bfloat16 with autocast, as a test with mixed precision does.
        on_image: Called with the number of images done and of all images, after each batch.
    """
    logits, features, num_done = [], [], 0
    precision = torch.autocast("cpu", torch.bfloat16) if is_bfloat16 else nullcontext()
    with in_evaluation(network), torch.inference_mode(), precision:
        for batch in images.chunks(BATCH_SIZE):
            batch_features = network.features(to_unit(batch))
            features.append(batch_features.float())
            logits.append(network.head(batch_features).float())
            num_done += len(batch)
            if on_image is not None:
                on_image(num_done, len(images))
    return Predictions(torch.cat(logits), torch.cat(features), images.labels, images.ids, images.file_names)
