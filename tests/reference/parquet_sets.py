"""Folders of parquet files in the form of Hugging Face data sets."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Rows = tuple[np.ndarray, np.ndarray]
COLOURS = {"red": (200, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 200)}


def encoded(pixels: np.ndarray) -> bytes:
    """Lossless PNG of pixels [h w 3]."""
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def photo(colour: tuple[int, int, int], seed: int) -> bytes:
    """A noisy picture of about one colour."""
    noise = np.random.default_rng(seed).integers(-30, 31, (32, 40, 3))
    return encoded(np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8))


def write_parquet(folder: Path, split: str, columns: dict[str, list[Any]], features: dict[str, Any] | None) -> Path:
    """Write one split with the features that `datasets` stores in the file; None writes a plain table."""
    import pyarrow
    import pyarrow.parquet

    folder = folder / "data"  # where the names of the files are those of the splits
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{split}-00000-of-00001.parquet"
    if features is None:
        pyarrow.parquet.write_table(pyarrow.table(columns), path)
        return path
    import datasets

    datasets.disable_progress_bars()
    datasets.Dataset.from_dict(columns, features=datasets.Features(features)).to_parquet(path)
    return path


def write_set(folder: Path, counts: dict[str, int], names: tuple[str, ...] = ("red", "green", "blue")) -> Path:
    """Write splits with a number of images, whose classes take turns."""
    import datasets

    features = {"img": datasets.Image(), "label": datasets.ClassLabel(names=list(names))}
    for number, (split, count) in enumerate(counts.items()):
        labels = [row % len(names) for row in range(count)]
        images = [
            {"bytes": photo(COLOURS[names[label]], 1000 * number + row), "path": None}
            for row, label in enumerate(labels)
        ]
        write_parquet(folder, split, {"img": images, "label": labels}, features)
    return folder


def rows_of(batches: list[bytes]) -> Rows:
    """Labels and pixels [n h w 3] of binary batches, by slicing alone."""
    records = np.frombuffer(b"".join(batches), dtype=np.uint8).reshape(-1, 3073)
    return records[:, 0], records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)


def write_rows(folder: Path, split: str, rows: Rows) -> Path:
    """Write labels and pixels as the parquet files of CIFAR-10 on the hub."""
    import datasets

    features = {"img": datasets.Image(), "label": datasets.ClassLabel(num_classes=10)}
    images = [{"bytes": encoded(pixels), "path": None} for pixels in rows[1]]
    return write_parquet(folder, split, {"img": images, "label": rows[0].tolist()}, features)


def write_batches(folder: Path, batches: dict[str, bytes]) -> list[Path]:
    """Write the train and the test split of binary batches as parquet files."""
    train = [content for name, content in batches.items() if name.startswith("data")]
    return [
        write_rows(folder, "train", rows_of(train)),
        write_rows(folder, "test", rows_of([batches["test_batch.bin"]])),
    ]
