"""Folders of ordinary images, as people have them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"red": (200, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 200)}


def save_photo(path: Path, colour: tuple[int, int, int], seed: int = 0, size: tuple[int, int] = (40, 32)) -> None:
    """Write a noisy picture of about one colour."""
    noise = np.random.default_rng(seed).integers(-30, 31, (size[1], size[0], 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)).save(path)


def make_folder(root: Path, counts: dict[str, int], suffix: str = ".png") -> Path:
    """Write a number of pictures of each class below the root; a key of `counts` may be `train/red`."""
    for name, count in counts.items():
        colour = COLOURS.get(Path(name).name, (128, 128, 128))
        for number in range(count):
            save_photo(root / name / f"{number:03}{suffix}", colour, seed=number)
    return root
