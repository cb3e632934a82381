"""HTML of the Model tab: accuracy, calibration, confusion matrix, layer table, drawing of the network."""

from __future__ import annotations

import base64
import io
from html import escape

from firstlight.app.markup import scrolling, table
from firstlight.diagram import draw
from firstlight.export.bundle import Bundle
from firstlight.summary import LayerRow, StageRows, Summary, summarize

NOVELTY = (
    "A picture is marked as unlike the training data if its energy score (Liu et al. 2020) is above a threshold that "
    "95% of the validation images stay below. The score detects pictures that activate no class. A photograph of "
    "something else may well activate one. The table shows the share of other images that are marked:"
)
CALIBRATION = (
    "The percentages are calibrated: the logits are divided by one temperature, which is fitted on validation images "
    "(Guo et al. 2017), so that about 80% of the answers with a probability of 80% are correct. The calibration error "
    "is the mean difference that remains on the test images."
)
NUM_VIEWS = {
    "flip": "with the mirror image",
    "flip_shift": "six views averaged",
    "flip_star": "up to 34 views averaged",
}


def model_panel(bundle: Bundle) -> str:
    """Return the content of the tab."""
    return (
        f'<section class="fl-model"><h2>{escape(bundle.title)}</h2>{_tiles(bundle)}'
        f"<p>{CALIBRATION}</p>"
        f"<h3>Confusion matrix</h3>{confusion_table(bundle)}"
        f"<h3>Pictures unlike the training data</h3><p>{NOVELTY}</p>{_novelty(bundle)}"
        f"<h3>Layers</h3>{layer_table(summarize(bundle.network, bundle.size_px[0]))}"
        f"<h3>Drawing of the network</h3>{_diagram(bundle)}</section>"
    )


def _tiles(bundle: Bundle) -> str:
    test, calibration = bundle.measured["test"], bundle.measured["calibration"]
    parameters = sum(each.numel() for each in bundle.network.parameters())
    num = f"{test['num_images']:,} test images"
    tiles = [
        (f"{test['single_view']:.2%}", "test accuracy", f"one view, {num}"),
        (f"{test['averaged']:.2%}", "test accuracy", f"{NUM_VIEWS[test['views']]}, {num}"),
        (
            f"{calibration['error_after']:.1%}",
            "calibration error",
            f"{calibration['error_before']:.1%} before calibration",
        ),
        (f"{parameters:,}", "parameters", f"recipe {bundle.config.recipe.get('name', 'unknown')}"),
    ]
    cells = "".join(
        f"<div><b>{escape(value)}</b><span>{escape(what)}</span><small>{escape(how)}</small></div>"
        for value, what, how in tiles
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


def _novelty(bundle: Bundle) -> str:
    novelty = bundle.measured["novelty"]
    rows = [
        [f"test images, {bundle.measured['test']['num_images']:,} (false alarms)", f"{novelty['false_alarms']:.1%}"]
    ]
    rows += [
        [f"{kind}, {novelty['num_images'][kind]:,}", f"{share:.1%}"] for kind, share in novelty["detected"].items()
    ]
    return table(["images", "marked as unlike"], rows, "fl-narrow")


def layer_table(summary: Summary) -> str:
    """Return the table of all layers; the name of a layer starts with that of its stage."""
    head = ["layer", "kind", "output", "receptive field, px", "jump, px", "parameters", "MACs"]
    rows = [_cells(stage, row) for stage in summary.stages for row in stage.layers]
    total = ["total", "", "", "", "", f"{summary.parameters:,}", f"{summary.macs:,}"]
    return scrolling(table(head, [*rows, total], "fl-layers", num_text_columns=2), "layers of the network")


def _cells(stage: StageRows, row: LayerRow) -> list[str]:
    by = "\N{MULTIPLICATION SIGN}".join
    field, jump = ((str(a) if a == b else by((str(a), str(b)))) for a, b in (row.receptive_field_px, row.jump_px))
    return [
        f"{stage.name}.{row.name}" if row.name else stage.name,
        row.kind,
        by(map(str, row.output)),
        field,
        jump,
        f"{row.parameters:,}" if row.parameters else "",
        f"{row.macs:,}" if row.macs else "",
    ]


def _diagram(bundle: Bundle) -> str:
    stream = io.StringIO()
    draw(bundle.network, bundle.size_px[0]).savefig(stream, format="svg")
    address = base64.b64encode(stream.getvalue().encode()).decode()
    alt = f"drawing of {type(bundle.network).__name__}: its stages from left to right"
    image = f'<img alt="{escape(alt)}" src="data:image/svg+xml;base64,{address}">'
    return scrolling(image, "drawing of the network", "fl-diagram")
