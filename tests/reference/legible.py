"""Checks that every text of a figure is legible: inside the figure, and over no image and no other text."""

from __future__ import annotations

from itertools import combinations
from unittest.mock import patch

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.text import Text
from matplotlib.transforms import Bbox


def drawn_texts(figure: Figure) -> list[Text]:
    """Return the texts that are drawn; some that exist, such as tick labels outside of the axes, are not."""
    drawn: dict[int, Text] = {}
    draw = Text.draw

    def record(text: Text, *arguments: object, **options: object) -> None:
        if text.get_visible() and text.get_text().strip():
            drawn[id(text)] = text
        draw(text, *arguments, **options)  # type: ignore[arg-type]

    with patch.object(Text, "draw", record):
        FigureCanvasAgg(figure).draw()
    return list(drawn.values())


def assert_legible(figure: Figure) -> None:
    """Fail if a text is cut off by the figure's edge, or overlaps another text or an image.

    A text that belongs to the axes of an image may lie inside the image, but not across its edge.
    """
    drawn = drawn_texts(figure)
    assert drawn, "a figure without a word"
    texts = [(text.get_text(), text.get_window_extent()) for text in drawn]
    images = [(image.axes, image.get_window_extent()) for image in figure.findobj(AxesImage)]
    page = figure.bbox
    for (text, box), artist in zip(texts, drawn, strict=True):
        pictures = [extent for axes, extent in images if artist not in axes.texts or not _inside(box, extent)]
        assert page.x0 <= box.x0 <= box.x1 <= page.x1, f"{text!r} is cut off at a side"
        assert page.y0 <= box.y0 <= box.y1 <= page.y1, f"{text!r} is cut off above or below"
        assert not any(_overlap(box, picture) for picture in pictures), f"{text!r} lies on an image"
    for (one, box), (other, other_box) in combinations(texts, 2):
        assert not _overlap(box, other_box), f"{one!r} runs into {other!r}"


def _inside(box: Bbox, outer: Bbox) -> bool:
    return outer.x0 <= box.x0 <= box.x1 <= outer.x1 and outer.y0 <= box.y0 <= box.y1 <= outer.y1


def _overlap(one: Bbox, other: Bbox) -> bool:
    return bool(min(one.x1, other.x1) - max(one.x0, other.x0) > 0.5 < min(one.y1, other.y1) - max(one.y0, other.y0))
