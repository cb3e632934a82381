"""HTML of the Classify and Mistakes tabs."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from firstlight.app.markup import image_tag, map_html, picture_html, scale_html
from firstlight.app.service import ExplainedPrediction, MistakesPage
from firstlight.data.images import ImageSet
from firstlight.export.bundle import Bundle
from firstlight.export.page_texts import NOVEL, NOVEL_TITLE, accuracy_text, task_text
from firstlight.plots.mistake_sheet import percent
from firstlight.reports.explained_mistakes import ExplainedMistake

NOTHING_YET = '<div class="fl-empty"><p>Nothing to explain yet.</p><p>Choose a picture, or paste one.</p></div>'


def header(bundle: Bundle) -> str:
    """Return the header above the tabs."""
    return (
        '<header class="fl-header"><h1>firstlight</h1>'
        f"<p>{escape(task_text(bundle))} <span>{escape(accuracy_text(bundle))}</span></p></header>"
    )


def notes_panel(notes: Sequence[str]) -> str:
    """Return notes on how a picture was read, one paragraph each."""
    return "".join(f'<p class="fl-note">{escape(note)}</p>' for note in notes)


def refusal_panel(line: str) -> str:
    """Return the panel with the reason why a picture was rejected, which is shown instead of an answer."""
    return f'<div class="fl-empty fl-refused" role="alert"><p>{escape(line)}</p><p>Choose another picture.</p></div>'


def prediction_panel(answer: ExplainedPrediction, num_classes: int) -> str:
    """Return the predicted class, the probabilities, the picture as the model sees it, and the evidence map.

    Args:
        answer: Prediction and its explanation.
        num_classes: Number of the most probable classes to list.
    """
    height, width = answer.pixels.shape[1:]
    figures = _figure(
        picture_html(answer.pixels, f"the picture at {width}x{height} pixels"),
        f"As the model sees it<small>{width} \N{MULTIPLICATION SIGN} {height} pixels</small>",
    )
    legend = ""
    if answer.evidence is not None:
        figures += _figure(
            map_html(answer.pixels, answer.evidence, f"evidence for {answer.explained}"),
            f"Evidence for <b>{escape(answer.explained)}</b><small>stage {escape(answer.stage)}</small>",
        )
        legend = scale_html()
    warning = f'<p class="fl-warning" role="status"><b>{NOVEL_TITLE}</b> {NOVEL}</p>' if answer.is_novel else ""
    return (
        f'<section class="fl-answer" aria-live="polite">{warning}'
        f'<div class="fl-columns"><div><h2>{_verdict(answer)}</h2>{_bars(answer.prediction.top(num_classes))}</div>'
        f'<div><div class="fl-figures">{figures}</div>{legend}</div></div></section>'
    )


def examples_panel(examples: ImageSet) -> str:
    """Return a button for each example image; nothing if the bundle contains no images."""
    if not len(examples):
        return ""
    buttons = [
        f'<button type="button" class="fl-example" data-index="{index}" title="{name}">'
        f"{image_tag(image.permute(1, 2, 0).contiguous().numpy(), '')}<span>{name}</span></button>"
        for index, (image, label) in enumerate(zip(examples.images, examples.labels.tolist(), strict=True))
        for name in [escape(examples.class_names[label])]
    ]
    return (
        '<h3 class="fl-label" id="fl-examples">Or try an example</h3>'
        f'<div class="fl-examples" role="group" aria-labelledby="fl-examples">{"".join(buttons)}</div>'
    )


def mistakes_panel(page: MistakesPage, num_tested: int) -> str:
    """Return a page of mistakes, each image beside the evidence for its predicted and for its true class."""
    count = f"<b>{page.num_found:,}</b> of {page.num_wrong:,} mistakes"
    if page.num_found == page.num_wrong:
        count = f"<b>{page.num_wrong:,}</b> of {num_tested:,} test images are misclassified"
    head = f'<p class="fl-count">{count}, the most confident first. Page {page.number} of {page.num_pages}.</p>'
    if not page.items:
        return f'{head}<div class="fl-empty"><p>No test image is misclassified in this way.</p></div>'
    legend = scale_html() if page.items[0].maps is not None else ""
    return f'{head}<div class="fl-mistakes">{"".join(map(_mistake, page.items))}</div>{legend}'


def no_images_panel() -> str:
    """Return the message of the Mistakes tab for a bundle that was exported without images."""
    return (
        '<div class="fl-empty"><p>This model was exported without images.</p>'
        "<p>The Model tab shows which classes it confuses.</p></div>"
    )


def _mistake(item: ExplainedMistake) -> str:
    mistake, predicted_name, true_name = item.mistake, item.predicted_name, item.true_name
    says = f"says <b>{escape(predicted_name)}</b><br>{percent_text(mistake.predicted_probability)}"
    truth = f"is <b>{escape(true_name)}</b><br>{percent_text(mistake.true_probability)}"
    name = escape(mistake.name)
    image = picture_html(item.pixels, f"test image {mistake.file_name or mistake.index}")
    if item.maps is None:
        captions = f'<span class="fl-wrong">{says}</span><span class="fl-right">{truth}</span>'
        caption = f"{captions}<small>{name}</small>"
        return f'<figure class="fl-mistake">{image}<figcaption>{caption}</figcaption></figure>'
    predicted_map, true_map = item.upsampled()
    return (
        '<div class="fl-mistake fl-three">'
        + _figure(image, f"<small>{name}</small>")
        + _figure(map_html(item.pixels, predicted_map, f"evidence for {predicted_name}"), says, "fl-wrong")
        + _figure(map_html(item.pixels, true_map, f"evidence for {true_name}"), truth, "fl-right")
        + "</div>"
    )


def _figure(image: str, caption: str, name: str = "") -> str:
    return f'<figure>{image}<figcaption class="{name}">{caption}</figcaption></figure>'


def _verdict(answer: ExplainedPrediction) -> str:
    label, share = answer.prediction.label, answer.prediction.probability
    return f"{escape(label)} <span>{percent_text(share)}</span>"


def _bars(top: Sequence[tuple[str, float]]) -> str:
    rows = "".join(
        f'<li><span class="fl-name">{escape(name)}</span>'
        f'<span class="fl-track"><span style="width:{share:.2%}"></span></span>'
        f'<span class="fl-share">{percent_text(share)}</span></li>'
        for name, share in top
    )
    return f'<ol class="fl-bars" aria-label="Most probable classes">{rows}</ol>'


def percent_text(share: float) -> str:
    """Return a probability as a percentage, escaped for HTML."""
    return escape(percent(share))
