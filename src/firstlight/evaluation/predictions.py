"""Predictions: logits and features of a set of images, as `predictions.npz` stores them."""

from __future__ import annotations

import math
import struct
import tokenize
import zipfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from firstlight.arrays import Features, Ids, Labels, Logits
from firstlight.data.images import ImageSet
from firstlight.errors import RunError
from firstlight.files import atomic, regular_file
from firstlight.paths import printable
from firstlight.typed_json import FieldError

# zipfile, zlib and numpy raise these for a damaged file, depending on where the damage is.
_DAMAGE = (
    *(OSError, EOFError, KeyError, ValueError, TypeError, RuntimeError, NotImplementedError),
    *(zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError, SyntaxError),
    *(MemoryError, OverflowError),  # arrays that announce more than they hold
)


@dataclass(frozen=True, eq=False)
class Predictions:
    """Logits and features of a set of images, with their labels and ids, ordered by id.

    Args:
        logits: Logits, float32 [n k].
        features: Input of the head, float32 [n f].
        labels: True classes, int64 [n].
        ids: Index of each image in its split, int64 [n].
        file_names: Path of each image's file below the folder of the data set; None if the images have no files of
            their own, or the predictions are of an older version.

    >>> logits = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    >>> p = Predictions(logits, torch.zeros(2, 1), torch.tensor([0, 0]), torch.arange(2))
    >>> p.accuracy, p.misclassified().tolist()
    (0.5, [1])
    """

    logits: Logits
    features: Features
    labels: Labels
    ids: Ids
    file_names: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def probabilities(self, temperature: float = 1.0) -> Float[Tensor, "n k"]:
        """Return the softmax of the logits divided by the temperature."""
        return (self.logits / temperature).softmax(dim=1)

    def calibrated(self, temperature: float) -> Predictions:
        """Return the predictions with logits divided by the temperature, so that probabilities are calibrated.

        The predicted classes stay the same (Guo et al., On Calibration of Modern Neural Networks, 2017, equation 9).
        """
        return replace(self, logits=self.logits / temperature)

    @property
    def predicted(self) -> Int64[Tensor, " n"]:
        """Class with the largest logit, int64 [n]."""
        return self.logits.argmax(dim=1)

    @property
    def accuracy(self) -> float:
        """Share of correctly classified images, in [0, 1]; NaN if there are no images."""
        return int((self.predicted == self.labels).sum()) / len(self) if len(self) else math.nan

    @property
    def loss(self) -> float:
        """Mean cross-entropy, summed in float64 in the order of the ids; NaN if there are no images."""
        return float(functional.cross_entropy(self.logits.double(), self.labels))

    def misclassified(self) -> Int64[Tensor, " m"]:
        """Return the rows of the misclassified images, most confident first; ties keep their order."""
        confidence = self.probabilities().amax(dim=1)
        wrong = (self.predicted != self.labels).nonzero().flatten()
        return wrong[confidence[wrong].argsort(descending=True, stable=True)]

    def save(self, path: Path) -> None:
        """Write `predictions.npz`."""
        arrays = {name: getattr(self, name).numpy() for name in ("logits", "features", "labels", "ids")}
        if self.file_names is not None:
            arrays["file_names"] = np.array(self.file_names, dtype=np.str_)
        with atomic(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **arrays)

    @staticmethod
    def load(path: Path) -> Predictions:
        """Read `predictions.npz`.

        Raises:
            RunError: The file is missing, damaged, or was not written by `save`.
        """
        try:
            _check_members(regular_file(path))
            with np.load(path, allow_pickle=False) as stored:
                arrays = {name: torch.from_numpy(stored[name]) for name in ("logits", "features", "labels", "ids")}
                names = stored["file_names"] if "file_names" in stored.files else None
            check_arrays(arrays)
            return Predictions(**arrays, file_names=None if names is None else _checked_names(names, arrays["labels"]))
        except FieldError as error:
            raise RunError(f"{path}: {error}; run `firstlight test` again") from error
        except _DAMAGE as error:
            raise RunError(f"{path}: cannot be read as predictions; run `firstlight test` again") from error


def with_file_names(predictions: Predictions, images: ImageSet) -> Predictions:
    """Return the predictions with the file names of their images, found by id; unchanged if the images have none."""
    if images.file_names is None:
        return predictions
    name_of = dict(zip(images.ids.tolist(), images.file_names, strict=True))
    return replace(predictions, file_names=tuple(name_of[index] for index in predictions.ids.tolist()))


def _checked_names(names: np.ndarray, labels: Tensor) -> tuple[str, ...]:
    if names.dtype.kind != "U" or names.shape != (len(labels),):
        raise ValueError(f"file_names is {names.dtype} {list(names.shape)}")
    return tuple(names.tolist())


def _check_members(path: Path) -> None:
    """Refuse compressed arrays, which may announce gigabytes in a small file."""
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
                raise FieldError(f"{printable(member.filename)} must be stored without compression")


def check_arrays(arrays: dict[str, Tensor]) -> None:
    """Raise FieldError unless arrays have the types, shapes and ranges of predictions.

    Args:
        arrays: `logits`, `features`, `labels` and `ids` as in `Predictions`.
    """
    for name, array in arrays.items():
        dtype, num_axes = (torch.float32, 2) if name in ("logits", "features") else (torch.int64, 1)
        if array.dtype != dtype or array.ndim != num_axes or len(array) != len(arrays["labels"]):
            axes = "one number" if num_axes == 1 else "a row"
            raise FieldError(
                f"{name} must be {dtype} with {axes} for each image, not {array.dtype} {list(array.shape)}"
            )
    num_classes = arrays["logits"].shape[1]
    if num_classes < 2:
        raise FieldError(f"logits must have a column for each of at least 2 classes, not {num_classes}")
    for name in ("logits", "features"):
        if not arrays[name].isfinite().all():
            raise FieldError(f"{name} must be finite numbers")
    labels = arrays["labels"]
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        raise FieldError(f"labels must be 0 to {num_classes - 1}, not {int(labels.min())} to {int(labels.max())}")


def ordered_by_id(logits: Tensor, features: Tensor, labels: Tensor, ids: Tensor) -> Predictions:
    """Return Predictions sorted by id, on the CPU; the rows may come from any device and rank, in any order."""
    order = ids.argsort(stable=True)
    return Predictions(
        logits[order].float().cpu(), features[order].float().cpu(), labels[order].cpu(), ids[order].cpu()
    )
