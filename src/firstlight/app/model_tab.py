"""HTML of the Model tab: accuracy, calibration, confusion matrix, layer table, drawing of the network."""

from __future__ import annotations

import base64
import io
from html import escape

from firstlight.app.markup import scrolling, table
from firstlight.diagram import draw_network
from firstlight.export.bundle import Bundle
from firstlight.export.model_facts import (
    LAYER_HEAD,
    NOVELTY_HEAD,
    NUM_LAYER_TEXT_COLUMNS,
    layer_rows,
    novelty_rows,
    tiles,
)
from firstlight.export.page_texts import CALIBRATION, NOVELTY, diagram_text
from firstlight.summary import Summary, summarize


def model_panel(bundle: Bundle) -> str:
    """Return the content of the tab."""
    return (
        f'<section class="fl-model"><h2>{escape(bundle.title)}</h2>{_tiles(bundle)}'
        f"<p>{CALIBRATION}</p>"
        f"<h3>Confusion matrix</h3>{confusion_table(bundle)}"
        f"<h3>Pictures unlike the training data</h3><p>{NOVELTY}</p>"
        f"{table(NOVELTY_HEAD, novelty_rows(bundle), 'fl-narrow')}"
        f"<h3>Layers</h3>{layer_table(summarize(bundle.network, bundle.size_px[0]))}"
        f"<h3>Drawing of the network</h3>{_diagram(bundle)}</section>"
    )


def _tiles(bundle: Bundle) -> str:
    cells = "".join(
        f"<div><b>{escape(tile.value)}</b><span>{escape(tile.what)}</span><small>{escape(tile.how)}</small></div>"
        for tile in tiles(bundle)
    )
    return f'<div class="fl-tiles">{cells}</div>'


def confusion_table(bundle: Bundle) -> str:
    """Return the confusion matrix as a table: one row for each true class, cells shaded by their share of the row."""
    names = [escape(name) for name in bundle.class_names]
    head = "".join(f'<th scope="col"><span>{name}</span></th>' for name in names)
    rows = []
    for label, (name, counts) in enumerate(zip(names, bundle.measured["confusion"], strict=True)):
        total = max(sum(counts), 1)
        cells = "".join(
            f'<td class="{"fl-hit" if column == label else "fl-miss"}" style="--share:{count / total:.4f}" '
            f'title="{name} classified as {names[column]}: {count} of {total}">{count or ""}</td>'
            for column, count in enumerate(counts)
        )
        rows.append(f'<tr><th scope="row">{name}</th>{cells}<td class="fl-sum">{counts[label] / total:.1%}</td></tr>')
    matrix = (
        '<table class="fl-confusion"><caption>Rows: true class. Columns: predicted class.'
        f'</caption><thead><tr><td></td>{head}<th scope="col"><span>correct</span></th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )
    return scrolling(matrix, "confusion matrix")


def layer_table(summary: Summary) -> str:
    """Return the table of all layers; the name of a layer starts with that of its stage."""
    content = table(LAYER_HEAD, layer_rows(summary), "fl-layers", NUM_LAYER_TEXT_COLUMNS)
    return scrolling(content, "layers of the network")


def _diagram(bundle: Bundle) -> str:
    stream = io.StringIO()
    draw_network(bundle.network, bundle.size_px[0]).savefig(stream, format="svg")
    address = base64.b64encode(stream.getvalue().encode()).decode()
    image = f'<img alt="{escape(diagram_text(bundle))}" src="data:image/svg+xml;base64,{address}">'
    return scrolling(image, "drawing of the network", "fl-diagram")
