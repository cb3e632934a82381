"""The names of the test-time views. Imports no PyTorch; `tta_views` defines what each name means."""

from __future__ import annotations

from typing import Literal

Views = Literal["single", "flip", "flip_shift", "flip_star"]
