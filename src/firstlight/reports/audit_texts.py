"""The summary of an audit in sentences, for the terminal and for the page."""

from __future__ import annotations

from collections import Counter

from firstlight.reports.audit import Audit


def summary(found: Audit) -> list[str]:
    """Return a sentence about each kind of finding, then the remarks."""
    return [*label_lines(found), *copy_lines(found), *image_lines(found), *found.remarks]


def label_lines(found: Audit) -> list[str]:
    """Return a sentence about the labels of each split that was checked."""
    lines = []
    for split, labels in found.labels.items():
        low, high = labels.interval
        lines.append(
            f"Labels of {split}: {len(labels.rows):,} of {labels.num_images:,} are probably wrong. Estimated share of "
            f"wrong labels: {labels.noise.share:.1%} (95 % interval {low:.1%} to {high:.1%})."
        )
    return lines


def copy_lines(found: Audit) -> list[str]:
    """Return the sentences about copies: contradictions first, then leaks, then the number of groups."""
    num_contradicting = sum(group.contradicts for group in found.groups)
    lines = []
    if num_contradicting:
        lines.append(f"Contradictions: {counted(num_contradicting, 'group')} of copies with different labels.")
    leak = found.leak
    if leak is not None and leak.rows:
        line = (
            f"Leaks: {len(leak.rows):,} of {leak.num_images:,} test images {'is' if len(leak.rows) == 1 else 'are'} "
            "also among the training images."
        )
        if leak.accuracy is not None and leak.accuracy_without is not None:
            line += f" Test accuracy {leak.accuracy:.2%}, without them {leak.accuracy_without:.2%}."
        lines.append(line)
    elif leak is not None:
        kind = "copy" if found.finds_near else "exact copy"
        lines.append(f"Leaks: no {kind} of a test image was found among the training images.")
    num_copies = sum(len(group.members) - 1 for group in found.groups)
    copies = f"{counted(num_copies, 'redundant image')} in {counted(len(found.groups), 'group')}"
    lines.append(f"Copies: {copies if num_copies else 'none were found'}.")
    if not found.finds_near:
        lines.append("Only exact copies were searched (--without_near_copies).")
    return lines


def image_lines(found: Audit) -> list[str]:
    """Return the sentences about odd images and spurious signs."""
    names = Counter(image.name for odd in found.odd.values() for image in odd)
    lines = []
    if names:
        kinds = ", ".join(f"{count:,} {name}" for name, count in names.most_common())
        lines.append(f"Odd images: {sum(names.values()):,} ({kinds}).")
    lines += [
        f"Spurious sign: {sign.property} alone distinguishes {found.class_names[sign.label]} from the other classes "
        f"(AUROC {sign.auroc:.2f})."
        for sign in found.signs
    ]
    return lines


def counted(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "image"), counted(1200, "image")
    ('1 image', '1,200 images')
    """
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
