"""Batches of images that are augmented on the device, a whole batch at a time.

Images that fit stay on the device as uint8. Others stay in a file or in the CPU's memory, and threads gather the coming
batches. Both give the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from firstlight.arrays import Ids, Images, Labels, Targets, UnitImages
from firstlight.augment import fused
from firstlight.augment.crop import shifted_crop
from firstlight.augment.cutout import cutout
from firstlight.augment.erasing import erase
from firstlight.augment.flip import flip
from firstlight.augment.mixing import cutmix, mixup, soft_targets
from firstlight.augment.trivial import trivial_augment
from firstlight.data.augmentation_config import Augmentation
from firstlight.data.epoch_draws import EpochDraws, Mixture
from firstlight.data.gathering import gathered_ahead
from firstlight.data.images import ImageSet
from firstlight.data.mapped_images import MappedImages
from firstlight.data.sampler import EpochSampler
from firstlight.errors import UsageError

# Pixels that are augmented together on a GPU, where launching a kernel takes longer than running it.
PIXELS_AHEAD = 10_000 * 32 * 32
MAX_DEVICE_SHARE = 0.5  # of a GPU's free memory that the images may take; the training needs the rest


class Batch(NamedTuple):
    """Samples of one step: images in [0, 1], float [n 3 h w]; labels, int64 [n]; ids, int64 [n].

    If the augmentation mixes images, the labels are targets, float [n k]: the share of each class, which sum to 1.
    """

    images: UnitImages
    labels: Targets
    ids: Ids


class Batches:
    """An iterable of `Batch`, for Lightning or a plain loop: on the device, shuffled, sharded, augmented.

    One iteration is one epoch. `sampler.set_epoch`, which Lightning calls, chooses the epoch. Batch `i` of epoch `e` is
    the same on every device and after every resume.

    Args:
        images: Images. If they fit, they are copied to `device` once and stay uint8; images in a file stay there.
        sampler: Sampler that chooses the images of each batch.
        augmentation: Augmentation of the images; None for validation and test.
        device: Device of the batches.

    Raises:
        UsageError: The augmentation shifts by the size of an image or more.
    """

    batch_sampler = None  # Lightning reads this attribute of a DataLoader

    def __init__(
        self,
        images: ImageSet,
        sampler: EpochSampler,
        augmentation: Augmentation | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        if augmentation is not None and augmentation.crop_px >= min(images.size_px):
            raise UsageError(
                f"crop_px {augmentation.crop_px} must be smaller than the images, which measure {images.size_px[0]}x"
                f"{images.size_px[1]} pixels"
            )
        self.set = images
        self.sampler = sampler
        self.augmentation = augmentation
        self.device = torch.device(device)

    @cached_property
    def _pixels(self) -> Images:
        return self.set.images.to(self.device, memory_format=torch.channels_last)

    @cached_property
    def is_streamed(self) -> bool:
        """Whether the pixels are gathered batch by batch, because they do not fit into the device's memory."""
        if isinstance(self.set.pixels, MappedImages):
            return True
        if self.device.type != "cuda":
            return False
        free_bytes, _ = torch.cuda.mem_get_info(self.device)
        return self.set.pixels.numel() > MAX_DEVICE_SHARE * free_bytes

    @cached_property
    def _labels(self) -> Labels:
        return self.set.labels.to(self.device)

    @cached_property
    def _ids(self) -> Ids:
        return self.set.ids.to(self.device)

    @cached_property
    def _index_of_id(self) -> Tensor:
        indices = torch.zeros(int(self.set.ids.max()) + 1, dtype=torch.int64)
        indices[self.set.ids] = torch.arange(len(self.set))
        return indices.to(self.device)

    @cached_property
    def _fill(self) -> Tensor:
        mean, _ = self.set.mean_and_std
        return (torch.tensor(mean) * 255).round().to(self.device, torch.uint8)

    def send(self) -> None:
        """Copy the images to the device now, rather than with the first batch, unless they are streamed."""
        _ = self.is_streamed or self._pixels, self._labels, self._ids
        if self.wants_losses:
            _ = self._index_of_id

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch]:
        config, draws = self.augmentation, None
        if config is not None:
            seed, epoch, num_rounds = self.sampler.seed, self.sampler.epoch, self.sampler.num_rounds
            draws = EpochDraws.draw(len(self.set), self.set.size_px, config, seed, epoch, num_rounds).to(self.device)
        upcoming = self.sampler.upcoming()
        if not upcoming:
            return
        num_ahead = self._num_ahead()
        visits = torch.cat([each for _, each in upcoming])
        sizes = [len(each) for _, each in upcoming]
        groups = visits.split([sum(sizes[first : first + num_ahead]) for first in range(0, len(sizes), num_ahead)])
        made = self._streamed(groups, draws) if self.is_streamed else self._resident(groups, draws)
        for first, columns in zip(range(0, len(upcoming), num_ahead), made, strict=True):
            some = slice(first, first + num_ahead)
            parts = [column.split(sizes[some]) for column in columns]
            for (number, _), batch in zip(upcoming[some], map(Batch, *parts), strict=True):
                self.sampler.next_batch = number + 1
                yield batch

    def _resident(self, groups: Sequence[Int64[Tensor, " _"]], draws: EpochDraws | None) -> Iterator[Batch]:
        """Yield the batches of groups of visits from pixels on the device."""
        sizes = [len(group) for group in groups]
        for visits in torch.cat(list(groups)).to(self.device).split(sizes):  # one copy, which waits for the device
            yield self._make_batch(visits, draws)

    def _streamed(self, groups: Sequence[Int64[Tensor, " _"]], draws: EpochDraws | None) -> Iterator[Batch]:
        """Yield the batches of groups of visits from pixels that threads gather ahead, and those of their partners."""
        pixels, num_images = self.set.pixels, len(self.set)
        if isinstance(pixels, MappedImages) and self.sampler.shuffle:
            pixels.expect_random_reads()
        partner = None if draws is None or draws.mixture is None else draws.mixture.partner.cpu()
        every = groups if partner is None else [torch.cat([visits, partner[visits]]) for visits in groups]
        gathered = gathered_ahead(
            pixels, [visits % num_images for visits in every], pin_memory=self.device.type == "cuda"
        )
        for visits, found in zip(groups, gathered, strict=True):
            on_device = found.to(self.device, non_blocking=True).contiguous(memory_format=torch.channels_last)
            yield self._make_batch(visits.to(self.device), draws, on_device)

    def _num_ahead(self) -> int:
        """Return the number of batches that are prepared at once."""
        height, width = self.set.size_px
        return 1 if self.device.type == "cpu" else max(1, PIXELS_AHEAD // (height * width * self.sampler.batch_size))

    def _make_batch(
        self,
        visits: Int64[Tensor, " n"],
        draws: EpochDraws | None,
        gathered: UInt8[Tensor, "m 3 h w"] | None = None,
    ) -> Batch:
        """Return the batch of some visits.

        Args:
            visits: Visits, int64 [n].
            draws: Random numbers of the augmentation; None without one.
            gathered: Pixels of the visits, and behind them those of their partners; None to take them from the device.
        """
        indices, num = visits % len(self.set), len(visits)
        pixels = self._pixels if gathered is None else gathered
        rows = indices if gathered is None else torch.arange(num, device=self.device)
        if self.augmentation is None or draws is None:
            return Batch(to_unit(pixels[rows]), self._labels[indices], self._ids[indices])
        images = self._augmented(pixels, rows, visits, self.augmentation, draws)
        if draws.mixture is None:
            return Batch(images, self._labels[indices], self._ids[indices])
        partners = draws.mixture.partner[visits]
        other_rows = partners % len(self.set) if gathered is None else rows + num
        others = self._augmented(pixels, other_rows, partners, self.augmentation, draws)
        return Batch(*self._mixed(images, others, visits, draws.mixture), self._ids[indices])

    def _augmented(
        self,
        pixels: UInt8[Tensor, "all 3 h w"],
        rows: Int64[Tensor, " n"],
        visits: Int64[Tensor, " n"],
        config: Augmentation,
        draws: EpochDraws,
    ) -> UnitImages:
        """Return rows of the pixels in [0, 1], augmented for these visits by the operations on single images."""
        is_plain = not (config.cutout_px or config.trivial_augment or config.erasing)
        if is_plain and fused.is_faster(pixels, len(rows)):
            return self._augment_fused(pixels, rows, visits, config, draws)
        return to_unit(self._augment(pixels[rows], visits, config, draws))

    def _mixed(
        self, images: UnitImages, others: UnitImages, visits: Int64[Tensor, " n"], mixture: Mixture
    ) -> tuple[UnitImages, Float[Tensor, "n k"]]:
        """Mix images with others; return the mixtures and their targets."""
        shares, boxes = mixture.mixup_share[visits], mixture.cutmix_box[visits]
        mixed = cutmix(mixup(images, others, shares), others, boxes)
        labels, other_labels = (self._labels[each % len(self.set)] for each in (visits, mixture.partner[visits]))
        return mixed, soft_targets(labels, other_labels, mixture.label_share[visits], len(self.set.class_names))

    @property
    def wants_losses(self) -> bool:
        """Whether the next epochs depend on the losses of this one; the training must then call `add_losses`."""
        return self.sampler.last_losses is not None

    def add_losses(self, ids: Ids, losses: Float[Tensor, " n"]) -> None:
        """Add the losses of the images of a batch."""
        if self.sampler.last_losses is not None:
            self.sampler.last_losses.add(self._index_of_id[ids], losses)

    def _augment(self, pixels: Images, visits: Int64[Tensor, " n"], config: Augmentation, draws: EpochDraws) -> Images:
        def pick(draw: Tensor) -> Tensor:
            return draw[visits]

        if config.crop_px:
            pixels = shifted_crop(pixels, pick(draws.down), pick(draws.right))
        if config.flip != "none":
            pixels = flip(pixels, pick(draws.mirrored))
        if draws.operation is not None and draws.strength is not None:
            pixels = trivial_augment(pixels, pick(draws.operation), pick(draws.strength), self._fill)
        if config.cutout_px:
            pixels = cutout(pixels, pick(draws.cut_row), pick(draws.cut_column), config.cutout_px, self._fill)
        if draws.erased is not None:
            pixels = erase(pixels, pick(draws.erased), self._fill)
        return pixels

    def _augment_fused(
        self,
        pixels: UInt8[Tensor, "all 3 h w"],
        rows: Int64[Tensor, " n"],
        visits: Int64[Tensor, " n"],
        config: Augmentation,
        draws: EpochDraws,
    ) -> UnitImages:
        down, right, mirrored = draws.down[visits], draws.right[visits], draws.mirrored[visits]
        if config.flip == "none":
            mirrored = torch.zeros_like(mirrored)
        return fused.shifted_and_flipped(pixels, rows, down, right, mirrored)

    def state_dict(self) -> dict[str, Any]:
        """Return the position in the epoch, which Lightning stores in its checkpoints."""
        return self.sampler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the position, also in the middle of an epoch."""
        self.sampler.load_state_dict(state)


def to_unit(images: Images) -> UnitImages:
    """Return raw pixels as float in [0, 1], channels_last, the input of every network.

    >>> to_unit(torch.full((1, 3, 1, 1), 255, dtype=torch.uint8)).flatten().tolist()
    [1.0, 1.0, 1.0]
    """
    return images.to(torch.float32, memory_format=torch.channels_last).div_(255)
