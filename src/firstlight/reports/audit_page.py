"""`audit.html`: the page of an audit. Only the decisions about images need JavaScript."""

from __future__ import annotations

from typing import Any

from firstlight.data.decisions import Decision
from firstlight.evaluation.odd_images import OddImage
from firstlight.evaluation.spurious_signs import SpuriousSign
from firstlight.reports.audit import Audit, describe, describe_odd
from firstlight.reports.audit_texts import summary
from firstlight.reports.copy_audit import CopyGroup, Member
from firstlight.reports.html.rendering import image_uri, render_page

MAX_IMAGES = 200  # largest number of findings of each kind on the page
SIGN_IMAGES = 6  # examples of a spurious sign: images of the class, and as many of other classes
MAX_MEMBERS = 12  # largest number of images of one group on the page
DECISIONS_FILE = "decisions.csv"


def render_audit(found: Audit, max_images: int = MAX_IMAGES) -> str:
    """Return the page of an audit as HTML.

    Args:
        found: The audit.
        max_images: Largest number of suspect labels and of groups of copies on the page.
    """
    return render_page(
        "audit.html.j2",
        ("audit.js", "scroll_hint.js"),
        ("report.css", "audit.css"),
        {"classes": list(found.class_names), "decisions": _decisions(found), "file": DECISIONS_FILE},
        title=f"Audit of {found.name}",
        lines=summary(found),
        names=found.class_names,
        num_classes=len(found.class_names),
        sizes=[(f"{split} images", len(images)) for split, images in found.splits.items()],
        checked=_label_rows(found),
        suspects=_suspects(found, max_images),
        num_suspects=sum(len(labels.rows) for labels in found.labels.values()),
        leak=_leak(found),
        finds_near=found.finds_near,
        groups=[_group(found, group) for group in found.groups[:max_images]],
        num_groups=len(found.groups),
        odd=_odd(found, max_images),
        num_odd=sum(len(odd) for odd in found.odd.values()),
        signs=[_sign(found, sign) for sign in found.signs],
    )


def _decisions(found: Audit) -> list[dict[str, Any]]:
    """Return the earlier decisions. The page adds them to the new ones when it saves the file."""
    return [
        {"split": each.split, "id": "" if each.id is None else each.id, "file": _file_of(found, each)}
        | {"decision": each.decision}
        for each in (found.decided.rows if found.decided else ())
    ]


def _file_of(found: Audit, decision: Decision) -> str:
    """Return the file of a decided image, by which the page identifies it; empty for an image without a file."""
    images = found.splits.get(decision.split)
    if decision.file or images is None or images.file_names is None or decision.id is None:
        return decision.file or ""
    rows = (images.ids == decision.id).nonzero().flatten().tolist()
    return images.file_names[rows[0]] if rows else ""


def _label_rows(found: Audit) -> list[dict[str, Any]]:
    """Return the rows of the table of the splits whose labels were checked."""
    return [
        {
            "split": split,
            "num_images": labels.num_images,
            "source": labels.source,
            "accuracy": labels.accuracy,
            "num_suspects": len(labels.rows),
            "share": labels.noise.share,
            "interval": labels.interval,
        }
        for split, labels in found.labels.items()
    ]


def _suspects(found: Audit, max_images: int) -> list[dict[str, Any]]:
    """Return the suspect labels of all splits, the most suspicious first."""
    chosen = sorted(
        (-float(labels.suspicion[row]), split, row)
        for split, labels in found.labels.items()
        for row in labels.rows.tolist()
    )[:max_images]
    likely = {split: labels.noise.likely for split, labels in found.labels.items()}
    return [
        _image(found, split, row) | {"likely": int(likely[split][row]), "probability": probability(-negative_suspicion)}
        for negative_suspicion, split, row in chosen
    ]


def _leak(found: Audit) -> dict[str, Any] | None:
    leak = found.leak
    if leak is None or not leak.rows:
        return None
    numbers = {"accuracy": leak.accuracy, "without": leak.accuracy_without, "interval": leak.interval_without}
    return {"count": len(leak.rows), "num_images": leak.num_images} | numbers


def _group(found: Audit, group: CopyGroup) -> dict[str, Any]:
    text = describe(group)
    return {
        "text": text[0].upper() + text[1:],
        "contradicts": group.contradicts,
        "is_exact": group.is_exact,
        "num_members": len(group.members),
        "members": [_member(found, member) for member in group.members[:MAX_MEMBERS]],
        "labels": sorted({member.label for member in group.members}),
    }


def _member(found: Audit, member: Member) -> dict[str, Any]:
    return _image(found, member.split, member.row) | {"similarity": f"{member.similarity:.2f}"}


def _odd(found: Audit, max_images: int) -> list[dict[str, Any]]:
    """Return the odd images in groups by name, for instance "dark": the most severe, at most equally many of each."""
    names: dict[str, list[tuple[str, OddImage]]] = {}
    for split, odd in found.odd.items():
        for image in odd:
            names.setdefault(image.name, []).append((split, image))
    share = max(1, max_images // max(1, len(names)))
    return [
        {
            "name": name,
            "count": len(members),
            "images": [
                _image(found, split, image.row) | {"why": describe_odd(image)}
                for split, image in sorted(members, key=lambda member: -member[1].severity)[:share]
            ],
        }
        for name, members in names.items()
    ]


def _sign(found: Audit, sign: SpuriousSign) -> dict[str, Any]:
    """Return a spurious sign with a few images of the class and of the others."""
    split, images = next(iter(found.splits.items()))
    of_class = (images.labels == sign.label).nonzero().flatten()[:SIGN_IMAGES].tolist()
    others = (images.labels != sign.label).nonzero().flatten()[:SIGN_IMAGES].tolist()
    return {
        "name": found.class_names[sign.label],
        "sign": sign,
        "images": [_image(found, split, row) for row in of_class],
        "others": [_image(found, split, row) for row in others],
    }


def _image(found: Audit, split: str, row: int) -> dict[str, Any]:
    images = found.splits[split]
    return {
        "split": split,
        "id": int(images.ids[row]),
        "file": None if images.file_names is None else images.file_names[row],
        "label": int(images.labels[row]),
        "image": image_uri(images.image_at(row).numpy()),
    }


def probability(value: float) -> str:
    """Return a probability in percent; never 100 %, because nothing is certain.

    >>> probability(0.87), probability(0.99999)
    ('87 %', '>99 %')
    """
    return ">99 %" if value > 0.99 else f"{100 * value:.0f} %"
