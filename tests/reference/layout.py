"""What can be read on a figure: the place of every text after the layout, and what is in its way."""

from __future__ import annotations

from itertools import combinations

from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

TOUCH_PX = 1.0  # boxes of texts include some air: so much overlap does no harm


def unreadable(figure: Figure) -> list[str]:
    """Name every text that is cut off, lies on another text, or lies on a picture that it does not belong to."""
    figure.draw_without_rendering()
    texts = [each for each in figure.findobj(Text) if each.get_visible() and each.get_text().strip()]
    assert texts, "a figure without a word"
    boxes = [(each.get_text(), each.get_window_extent()) for each in texts]
    found = [f"cut off: {text}" for text, box in boxes if not _inside(box, figure.bbox)]
    found += [
        f"on another: {text} | {other_text}"
        for (text, box), (other_text, other) in combinations(boxes, 2)
        if _overlap(box, other)
    ]
    pictures = [axes for axes in figure.axes if axes.images]
    found += [
        f"on a picture: {text.get_text()}"
        for text, (_, box) in zip(texts, boxes, strict=True)
        for axes in pictures
        if text not in axes.texts and _overlap(box, axes.get_window_extent())
    ]
    return found


def _inside(box: Bbox, outer: Bbox) -> bool:
    return box.x0 >= outer.x0 and box.y0 >= outer.y0 and box.x1 <= outer.x1 and box.y1 <= outer.y1


def _overlap(box: Bbox, other: Bbox) -> bool:
    return bool(box.padded(-TOUCH_PX).overlaps(other.padded(-TOUCH_PX)))
