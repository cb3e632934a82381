"""The random numbers of the augmentation in one epoch."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from firstlight.augment.boxes import Boxes
from firstlight.augment.erasing import draw_erased_boxes
from firstlight.augment.flip import alternate
from firstlight.augment.mixing import Shares, draw_cutmix_boxes, draw_mixup_shares, uncovered_share
from firstlight.augment.trivial import Strengths, draw_operations
from firstlight.data.augmentation_config import Augmentation
from firstlight.data.rng import generator, numpy_generator


@dataclass(frozen=True)
class Mixture:
    """The other image that each image is mixed with, and how.

    Args:
        partner: Visit of the other image.
        mixup_share: Share of the image itself in mixup; 1 for images that are not mixed so.
        cutmix_box: Box that CutMix replaces, int64 [n 4]; empty for images that are not mixed so.
        label_share: Share of the image's own label.
    """

    partner: Int64[Tensor, " n"]
    mixup_share: Float[Tensor, " n"]
    cutmix_box: Int64[Tensor, "n 4"]
    label_share: Float[Tensor, " n"]

    def to(self, device: torch.device) -> Mixture:
        """Return a copy on the device."""
        return Mixture(*(getattr(self, each.name).to(device) for each in fields(self)))


@dataclass(frozen=True)
class EpochDraws:
    """Random numbers of the augmentation in one epoch: one of each kind for every possible visit of an image.

    Those after the first five are None if the configuration does not use them.

    Args:
        down: Shift downwards in pixels.
        right: Shift to the right in pixels.
        mirrored: Whether the image is mirrored, bool [n].
        cut_row: First row of the cutout.
        cut_column: First column of the cutout.
        operation: Operation of TrivialAugment.
        strength: Strength of this operation, float [n].
        erased: Box of random erasing, int64 [n 4].
        mixture: Partner of each image in mixup or CutMix.
    """

    down: Int64[Tensor, " n"]
    right: Int64[Tensor, " n"]
    mirrored: Bool[Tensor, " n"]
    cut_row: Int64[Tensor, " n"]
    cut_column: Int64[Tensor, " n"]
    operation: Int64[Tensor, " n"] | None = None
    strength: Float[Tensor, " n"] | None = None
    erased: Int64[Tensor, "n 4"] | None = None
    mixture: Mixture | None = None

    @staticmethod
    def draw(
        num_images: int, size_px: tuple[int, int], config: Augmentation, seed: int, epoch: int, num_rounds: int = 1
    ) -> EpochDraws:
        """Draw on the CPU; each number depends on seed, epoch, purpose and the index of the image."""
        num_draws = num_rounds * num_images

        def integers(purpose: str, low: int, high: int) -> Tensor:
            return torch.randint(low, high + 1, (num_draws,), generator=generator(seed, epoch, purpose))

        if config.flip == "alternating":
            coin = torch.rand(num_images, generator=generator(seed, 0, "flip")) < 0.5
            mirrored = torch.cat([alternate(coin, epoch + number) for number in range(num_rounds)])
        else:
            mirrored = torch.rand(num_draws, generator=generator(seed, epoch, "flip")) < 0.5
        half = config.cutout_px // 2
        operation, strength = _draw_operations(num_draws, config, seed, epoch)
        return EpochDraws(
            down=integers("down", -config.crop_px, config.crop_px),
            right=integers("right", -config.crop_px, config.crop_px),
            mirrored=mirrored,
            cut_row=integers("cut row", 0, size_px[0] - 1) - half,
            cut_column=integers("cut column", 0, size_px[1] - 1) - half,
            operation=operation,
            strength=strength,
            erased=_draw_erased(num_draws, size_px, config, seed, epoch),
            mixture=_draw_mixture(num_draws, size_px, config, seed, epoch),
        )

    def to(self, device: torch.device) -> EpochDraws:
        """Return a copy on the device."""
        parts = (getattr(self, each.name) for each in fields(self))
        return EpochDraws(*(None if part is None else part.to(device) for part in parts))  # type: ignore[arg-type]


def _draw_operations(
    count: int, config: Augmentation, seed: int, epoch: int
) -> tuple[Int64[Tensor, " n"], Strengths] | tuple[None, None]:
    return draw_operations(count, generator(seed, epoch, "operation")) if config.trivial_augment else (None, None)


def _draw_erased(count: int, size_px: tuple[int, int], config: Augmentation, seed: int, epoch: int) -> Boxes | None:
    if not config.erasing:
        return None
    return draw_erased_boxes(config.erasing, count, size_px, generator(seed, epoch, "erasing"))


def _draw_mixture(count: int, size_px: tuple[int, int], config: Augmentation, seed: int, epoch: int) -> Mixture | None:
    """Draw the visit that each image is mixed with, its share in mixup, the box of CutMix, and its label's share.

    The visits are mixed in pairs of a random permutation of the epoch, not of a batch, so that the number of devices
    changes nothing. If both kinds are on, a coin decides for each image.
    """
    if not config.is_mixing:
        return None
    partner = torch.randperm(count, generator=generator(seed, epoch, "mixing partner"))
    is_mixed, coin = torch.rand(2, count, generator=generator(seed, epoch, "mixing kind"))
    by_mixup = is_mixed < config.mixed_share
    by_cutmix = by_mixup.clone()
    if config.mixup and config.cutmix:
        by_mixup, by_cutmix = by_mixup & (coin < 0.5), by_cutmix & (coin >= 0.5)
    shares: Shares = torch.ones(count)
    boxes: Boxes = torch.zeros(count, 4, dtype=torch.int64)
    if config.mixup:
        drawn = draw_mixup_shares(config.mixup, count, numpy_generator(seed, epoch, "mixup"))
        shares = torch.where(by_mixup, drawn, shares)
    if config.cutmix:
        found = draw_cutmix_boxes(config.cutmix, count, size_px, numpy_generator(seed, epoch, "cutmix"))
        boxes = torch.where(by_cutmix[:, None], found, boxes)
    return Mixture(partner, shares, boxes, shares * uncovered_share(boxes, size_px))
