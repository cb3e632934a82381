"""What a sheet of mistakes shows: its images and its texts, read from the drawn figure."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.image import AxesImage


def images_of(figure: Figure) -> list[list[AxesImage]]:
    """Return the three images of each mistake."""
    images = [artist for artist in figure.axes[0].get_children() if isinstance(artist, AxesImage)]
    return [images[start : start + 3] for start in range(0, len(images), 3)]


def captions_of(figure: Figure) -> list[str]:
    """Return all texts above and on the images, in the order in which they were drawn."""
    return [text.get_text() for text in figure.axes[0].texts]
