"""Progressive resizing: training starts with small images and ends with images of full size."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal, get_args

from firstlight.errors import UsageError

Method = Literal["scale", "crop"]

MIN_SCALE = 0.1
MIN_SIDE_PX = 10  # the smallest images that every built-in network takes
_NUM_POINTS = 1000  # number of points of a training at which `shares` samples the image side


def progress_at(step: int, num_steps: int | float) -> float:
    """Return the completed share of a training of `num_steps` when a step begins, in [0, 1].

    >>> progress_at(3, 4), progress_at(5, 4), progress_at(3, float("inf"))
    (0.75, 1.0, 0.0)
    """
    return min(1.0, max(0, step) / max(1.0, num_steps))


@dataclass(frozen=True)
class ProgressiveResizing:
    """Schedule of the size of the training images: small at first, then growing, then full size.

    Steps on small images are cheaper, and early in a training a network learns as much from small images as from large
    ones. (Howard 2018, "Training ImageNet in 3 hours for 25 minutes". The arguments have the names that MosaicML's
    Composer gives them.) Scaling makes objects smaller than in the test. Cropping keeps their size, so that fewer steps
    at full size are needed at the end (Touvron et al. 2019, "Fixing the train-test resolution discrepancy", arXiv
    1906.06423).

    Args:
        method: "scale" scales the images down; "crop" crops their centre. The augmentation has shifted the images
            before. If it shifts by at most half of the removed pixels, the result is a random crop without padding.
        initial_scale: Side at the start, as a share of the full side; 1 keeps the full size throughout.
        delay_fraction: Share of the training before the images begin to grow.
        finetune_fraction: Share of the training, at its end, with images of full size.
        size_increment_px: Smaller sides are rounded to multiples of this number of pixels.
    """

    method: Method = "scale"
    initial_scale: float = 1.0
    delay_fraction: float = 0.0
    finetune_fraction: float = 0.2
    size_increment_px: int = 4

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise UsageError(f"resizing.method must be one of {', '.join(get_args(Method))}, not {self.method!r}")
        if not MIN_SCALE <= self.initial_scale <= 1:
            raise UsageError(f"resizing.initial_scale must be {MIN_SCALE} to 1, not {self.initial_scale}")
        for name in ("delay_fraction", "finetune_fraction"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"resizing.{name} must be at least 0 and at most 1, not {getattr(self, name)}")
        if self.delay_fraction + self.finetune_fraction > 1:
            raise UsageError("resizing.delay_fraction and resizing.finetune_fraction must not add up to more than 1")
        if self.size_increment_px < 1:
            raise UsageError(f"resizing.size_increment_px must be 1 or more, not {self.size_increment_px}")

    def scale(self, progress: float) -> float:
        """Return the side at a share of the training, as a share of the full side, before rounding to pixels.

        >>> resizing = ProgressiveResizing(initial_scale=0.5, delay_fraction=0.4, finetune_fraction=0.2)
        >>> [round(resizing.scale(progress / 10), 3) for progress in (0.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0)]
        [0.5, 0.5, 0.625, 0.75, 0.875, 1.0, 1.0]
        """
        full_size_from = 1 - self.finetune_fraction
        if progress >= full_size_from:
            return 1.0
        if progress <= self.delay_fraction:
            return self.initial_scale
        share = (progress - self.delay_fraction) / (full_size_from - self.delay_fraction)
        return self.initial_scale + share * (1 - self.initial_scale)

    def side_px(self, full_px: int, progress: float) -> int:
        """Return the side in pixels at a share of the training, for images with the full side `full_px`.

        Images never get smaller than 10 pixels, which every built-in network takes.

        >>> resizing = ProgressiveResizing("scale", 0.5, delay_fraction=0.4, finetune_fraction=0.2, size_increment_px=8)
        >>> [resizing.side_px(32, progress / 10) for progress in (0.0, 4.0, 5.0, 6.0, 8.0, 10.0)]
        [16, 16, 16, 24, 32, 32]
        """
        scale, unit = self.scale(progress), self.size_increment_px
        return full_px if scale == 1 else min(full_px, max(MIN_SIDE_PX, unit * round(scale * full_px / unit)))

    def apply(self, images: Any, progress: float) -> Any:
        """Return images in [0, 1], float [n 3 h w], at the size for a share of the training.

        Smaller images are in channels_last memory format.
        """
        from firstlight.augment.crop import center_crop  # here, because recipes must load without PyTorch
        from firstlight.augment.resize import resized

        height, width = (self.side_px(side, progress) for side in images.shape[2:])
        return (resized if self.method == "scale" else center_crop)(images, (height, width))

    def shares(self, full_px: int, progress: float = 0.0) -> dict[int, float]:
        """Return the share of the remaining training at each image side in pixels; the shares sum to 1.

        Args:
            full_px: Full side of the images.
            progress: Share of the training that is done.

        >>> ProgressiveResizing(initial_scale=0.5, delay_fraction=0.8).shares(32)
        {16: 0.8, 32: 0.2}
        """
        if self.initial_scale == 1:
            return {full_px: 1.0}
        points = (progress + (1 - progress) * (i + 0.5) / _NUM_POINTS for i in range(_NUM_POINTS))
        counts = Counter(self.side_px(full_px, point) for point in points)
        return {side_px: count / _NUM_POINTS for side_px, count in counts.items()}
