"""Facts for the model card about the training data: name, test split, limits, and whether the images are public."""

from __future__ import annotations

from dataclasses import dataclass

FOLDER = "folder"  # `firstlight.data.source.FOLDER_NAME`: a folder of the user's own images


@dataclass(frozen=True)
class DataFacts:
    """Facts about a data set, in words that fit into a sentence.

    Args:
        name: Name for readers.
        test_split: Name of the test images, with an article.
        limits: What the model cannot be expected to do, because of its data.
        is_public: Whether the images are published, so that an export may contain some of them.
        hub_name: Identifier on the Hugging Face hub; None if the data set is not there.
    """

    name: str
    test_split: str
    limits: str
    is_public: bool
    hub_name: str | None = None


SMALL_PHOTOGRAPHS = (
    "It was trained on small, centred pictures of one object each. Expect less than its test accuracy from other "
    "framings, drawings, and photographs from other times and places."
)
DRAWN_SHAPES = "It was trained on drawn shapes only and knows nothing of photographs."
OWN_IMAGES = (
    "Its training and test images come from one collection. Expect less than its test accuracy from pictures by other "
    "cameras, of other places, or from other times."
)
OFFICIAL, EMBEDDED = "the official test split", "the test split of the embedded data set"
PUBLISHED = {
    "cifar10": DataFacts("CIFAR-10", OFFICIAL, SMALL_PHOTOGRAPHS, True, "uoft-cs/cifar10"),
    "cifar100": DataFacts("CIFAR-100", OFFICIAL, SMALL_PHOTOGRAPHS, True, "uoft-cs/cifar100"),
    "cifar100-coarse": DataFacts(
        "CIFAR-100 with its 20 superclasses", OFFICIAL, SMALL_PHOTOGRAPHS, True, "uoft-cs/cifar100"
    ),
    "drawn": DataFacts("firstlight's drawn shapes", EMBEDDED, DRAWN_SHAPES, True),
    "watermark": DataFacts("firstlight's watermark trap", EMBEDDED, DRAWN_SHAPES, True),
}


def data_facts(kind: str, name: str) -> DataFacts:
    """Return the facts about a data set.

    Args:
        kind: Name of the data set in the recipe, for instance "cifar10"; "folder" for a folder of images.
        name: Name of the data set in the run, for instance the name of the folder.

    >>> data_facts("folder", "cifar10").test_split
    'the test images of the folder cifar10, which were not trained on'
    """
    if kind in PUBLISHED:
        return PUBLISHED[kind]
    if kind == FOLDER:
        test_split = f"the test images of the folder {name}, which were not trained on"
        return DataFacts(name, test_split, OWN_IMAGES, is_public=False)
    return DataFacts(name, f"the test split of {name}", OWN_IMAGES, is_public=False)
