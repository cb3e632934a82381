"""Replays a batch from (seed, epoch), one image at a time, without firstlight's code."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch

from reference.augmentation import cut_image, mirrored_image, shifted_image


@dataclass(frozen=True)
class Setting:
    """The augmentation of a run in plain values."""

    seed: int
    batch_size: int
    crop_px: int
    flip: str
    cutout_px: int


def random_source(seed: int, epoch: int, purpose: str) -> torch.Generator:
    """Return a generator seeded by the first eight bytes of a hash, an integer below 2**63."""
    first = hashlib.sha256(f"{seed}/{epoch}/{purpose}".encode("ascii")).digest()[:8]
    number = sum(byte << (8 * index) for index, byte in enumerate(first)) // 2
    return torch.Generator().manual_seed(number)


def is_mirrored(setting: Setting, num_images: int, epoch: int) -> list[bool]:
    """Whether each image is shown mirrored in this epoch."""
    if setting.flip == "none":
        return [False] * num_images
    if setting.flip == "alternating":
        first = (torch.rand(num_images, generator=random_source(setting.seed, 0, "flip")) < 0.5).tolist()
        return [not coin if epoch % 2 else coin for coin in first]
    return (torch.rand(num_images, generator=random_source(setting.seed, epoch, "flip")) < 0.5).tolist()


def replay(pixels: np.ndarray, setting: Setting, epoch: int, number: int) -> tuple[np.ndarray, list[int]]:
    """Return batch `number` of `epoch` on one device: float32 [n 3 h w] in [0, 1], and the image indices."""
    num_images, _, height, width = pixels.shape

    def whole(purpose: str, low: int, high: int) -> list[int]:
        source = random_source(setting.seed, epoch, purpose)
        return torch.randint(low, high + 1, (num_images,), generator=source).tolist()

    order = torch.randperm(num_images, generator=random_source(setting.seed, epoch, "order")).tolist()
    chosen = order[number * setting.batch_size : (number + 1) * setting.batch_size]
    down = whole("down", -setting.crop_px, setting.crop_px)
    right = whole("right", -setting.crop_px, setting.crop_px)
    mirrored = is_mirrored(setting, num_images, epoch)
    centre_row, centre_column = whole("cut row", 0, height - 1), whole("cut column", 0, width - 1)
    fill = [round(float(pixels[:, channel].astype(np.float64).mean())) for channel in range(3)]
    shown = []
    for index in chosen:
        image = shifted_image(pixels[index], down[index], right[index])
        if mirrored[index]:
            image = mirrored_image(image)
        top, left = centre_row[index] - setting.cutout_px // 2, centre_column[index] - setting.cutout_px // 2
        image = cut_image(image, top, left, setting.cutout_px, fill)
        shown.append(image.astype(np.float32) / np.float32(255))
    return np.stack(shown), chosen
