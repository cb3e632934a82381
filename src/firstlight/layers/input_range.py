"""Check that images are RGB in [0, 1], the input of every network."""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor

from firstlight.errors import UsageError

# The limits admit noise and the overshoot of resampling, but neither pixels in 0..255 nor standardized images.
LOWEST, HIGHEST = -0.5, 1.5


def refuse_integers(images: Tensor) -> None:
    """Raise UsageError unless the images are floating-point numbers.

    >>> refuse_integers(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    Traceback (most recent call last):
    firstlight.errors.UsageError: images of torch.uint8: a network takes float RGB in [0, 1], so pass images / 255
    """
    if not images.is_floating_point():
        raise UsageError(f"images of {images.dtype}: a network takes float RGB in [0, 1], so pass images / 255")


def refuse_other_shapes(images: Tensor) -> None:
    """Raise UsageError unless the images are a batch of RGB images; a single channel stands for three equal ones.

    >>> refuse_other_shapes(torch.zeros(8, 8))
    Traceback (most recent call last):
    firstlight.errors.UsageError: images of shape [8, 8]: a network takes [n 3 h w]
    """
    shape = list(images.shape)
    if len(shape) == 4 and shape[1] in (1, 3):
        return
    if len(shape) == 4 and shape[3] == 3:
        advice = ", so pass images.permute(0, 3, 1, 2)"
    elif len(shape) == 3 and shape[0] == 3:
        advice = ", so pass images[None] for a batch of one image"
    else:
        advice = ""
    raise UsageError(f"images of shape {shape}: a network takes [n 3 h w]{advice}")


def is_checkable(images: Tensor) -> bool:
    """Whether the values can be read, which is impossible while a function is traced, compiled or captured.

    >>> is_checkable(torch.rand(1, 3, 8, 8)), is_checkable(torch.rand(1, 3, 8, 8, device="meta"))
    (True, False)
    """
    if torch.jit.is_tracing() or torch.compiler.is_compiling():
        return False
    if type(images) is not Tensor or images.is_meta or not images.numel():
        return False
    return not (images.is_cuda and torch.cuda.is_current_stream_capturing())


def warn_of_range(images: Tensor) -> bool:
    """Warn if float images [n 3 h w] are clearly not in [0, 1]; return whether a warning was given."""
    try:
        low, high = (float(value) for value in images.detach().aminmax())
    except RuntimeError:  # inside a transform such as vmap, a tensor has no values
        return False
    if low >= LOWEST and high <= HIGHEST:
        return False
    if math.isnan(low):
        warnings.warn("images have pixels that are not numbers (NaN), so their predictions are NaN, too", stacklevel=1)
        return True
    advice = "divide them by 255" if low >= 0 else "leave out your own normalization"
    warnings.warn(
        f"images have values from {low:.3g} to {high:.3g}, but the network takes RGB in [0, 1] and normalizes it "
        f"itself: {advice}, or its predictions are wrong",
        stacklevel=1,
    )
    return True
