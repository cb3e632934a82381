"""A data set with the decisions of an audit applied: without the dropped images, and with the new labels."""

from __future__ import annotations

from jaxtyping import Float64
from torch import Tensor

from firstlight.data.decisions import Decisions
from firstlight.data.images import ImageSet
from firstlight.data.source import Source, Split
from firstlight.errors import DataError


class DecidedSource(Source):
    """A data set that applies decisions when its images are read. The files stay as they are.

    Args:
        source: The data set.
        decisions: Decisions about its images.
    """

    def __init__(self, source: Source, decisions: Decisions) -> None:
        super().__init__(source.name, source.data_dir, source.image_size)
        self.adapts_recipe, self.may_hold_copies = source.adapts_recipe, source.may_hold_copies
        self.columns = source.columns
        self.source, self.decisions = source, decisions

    def val(self) -> ImageSet | None:
        """Read the data set's own validation images and apply the decisions; None if it has none."""
        images = self.source.val()
        if images is not None:
            return self.decisions.apply(images, "val")
        if any(each.split == "val" for each in self.decisions.rows):
            raise DataError(f"{self.decisions.name}: decides on images of val, but {self.name} has no such split")
        return None

    def external_test(self) -> ImageSet:
        """Read the images on which a network from another data set is tested, without applying the decisions."""
        return self.source.external_test()

    def read(self, split: Split) -> ImageSet:
        """Read one split and apply the decisions.

        Raises:
            DataError: The data set is missing or malformed, or a decision is about an image or a class that it lacks.
        """
        return self.decisions.apply(self.source.read(split), split)

    def remarks(self, train: ImageSet) -> list[str]:
        """Return the remarks of the data set, and a line that counts the decisions."""
        return [*self.source.remarks(train), self.decisions.summary()]

    def file_attributes(self, images: ImageSet) -> dict[str, Float64[Tensor, " n"]]:
        """Return attributes of the images' files by name, float64 [n] each."""
        return self.source.file_attributes(images)

    def describe(self) -> dict[str, str]:
        """Return the entries of the data set in `environment.json`, with the digest of the decisions."""
        return self.source.describe() | {"decisions": self.decisions.digest}
