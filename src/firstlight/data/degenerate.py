"""Warnings about unusable data: constant colour channels, a single class, classes without images."""

from __future__ import annotations

from firstlight.data.images import MIN_STD, ImageSet

COLOURS = ("red", "green", "blue")


def describe_degenerate_data(train: ImageSet, val: ImageSet, test: ImageSet | None = None) -> list[str]:
    """Return a warning line for each defect of the images: constant channels, a single class, missing classes.

    Args:
        train: Training images.
        val: Validation images; may be empty.
        test: Test images, if they are loaded.

    >>> import torch
    >>> red = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    >>> red[1, 0] = 200
    >>> images = ImageSet(red, torch.tensor([0, 1]), ("dark", "light"), name="lamps")
    >>> describe_degenerate_data(images, images[:0])
    ['warning: the green and blue channels of lamps have one value everywhere: the network learns from red alone']
    """
    lines = [*_constant_channels(train), *_missing_classes(train, train, "training")]
    lines += _missing_classes(train, val, "validation") if len(val) else []
    return lines + (_missing_classes(train, test, "test") if test is not None else [])


def _constant_channels(train: ImageSet) -> list[str]:
    is_constant = [std <= MIN_STD for std in train.mean_and_std[1]]
    constant = [colour for colour, flag in zip(COLOURS, is_constant, strict=True) if flag]
    others = [colour for colour in COLOURS if colour not in constant]
    if not constant:
        return []
    if not others:
        return [f"warning: all pixels of {train.name} have the same colour: the network can learn nothing from them"]
    channels = f"{' and '.join(constant)} channel" + ("s" if len(constant) > 1 else "")
    verb = "have" if len(constant) > 1 else "has"
    rest = " and ".join(others)
    return [
        f"warning: the {channels} of {train.name} {verb} one value everywhere: the network learns from {rest} alone"
    ]


def _missing_classes(train: ImageSet, images: ImageSet, split: str) -> list[str]:
    counts = images.labels.bincount(minlength=len(train.class_names)).tolist()
    present = [name for name, count in zip(train.class_names, counts, strict=True) if count]
    missing = [name for name in train.class_names if name not in present]
    if not missing:
        return []
    if len(present) == 1:
        return [f"warning: all {split} images are of the class {present[0]!r}: there is nothing to tell apart"]
    shown = ", ".join(map(repr, missing[:5])) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
    consequence = "are never predicted" if split == "training" else f"do not count in the {split} accuracy"
    return [f"warning: no {split} images of {shown}: these classes {consequence}"]
