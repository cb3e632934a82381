"""Array types with their shapes, and the axis names used everywhere.

Axes: `n` images, `c` channels, `h` rows, `w` columns, `k` classes, `f` features.
Annotations such as `UInt8[Tensor, "n 3 h w"]` are checked while the tests run (jaxtyping with beartype).
"""

from __future__ import annotations

from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

Images = UInt8[Tensor, "n 3 h w"]  # raw pixels, 0 to 255, RGB
UnitImages = Float[Tensor, "n 3 h w"]  # RGB in [0, 1]: what every network here takes
Labels = Int64[Tensor, " n"]
Targets = Labels | Float[Tensor, "n k"]  # classes, or the share of each class in mixed images
Ids = Int64[Tensor, " n"]  # index of each sample in the official split
Offsets = Int64[Tensor, " n"]  # in pixels, one for each image
Masks = Bool[Tensor, "n h w"]
Logits = Float[Tensor, "n k"]
Features = Float[Tensor, "n f"]

__all__ = [
    "Features",
    "Ids",
    "Images",
    "Labels",
    "Logits",
    "Masks",
    "Offsets",
    "Targets",
    "UnitImages",
]
