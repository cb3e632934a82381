"""The summary of an audit in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from firstlight.reports.audit import Audit, Finding

NUM_SHOWN = 5  # findings of each kind


def print_audit(found: Audit) -> None:
    """Print what was found: a sentence for each kind, then the most severe findings of each kind."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from firstlight.reports.audit_texts import summary

    console = Console(soft_wrap=True, markup=False, emoji=False)  # names are the user's own
    for line in summary(found):
        console.print(line, highlight=False)
    findings = found.findings()
    shown = [
        finding for kind in ("label", "duplicate", "odd", "sign") for finding in _of_kind(findings, kind)[:NUM_SHOWN]
    ]
    if not shown:
        return
    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    for heading in ("kind", "image", "score", "given", "likely", "remark"):
        table.add_column(heading, justify="right" if heading == "score" else "left", overflow="fold")
    for finding in shown:
        image = finding.split if finding.id is None else _image_name(found, finding.split, finding.id)
        remark = finding.remark
        if finding.partner_split is not None and finding.partner_id is not None:
            remark += f": {_image_name(found, finding.partner_split, finding.partner_id)}"
        table.add_row(finding.kind, image, f"{finding.score:.2f}", finding.given or "", finding.likely or "", remark)
    console.print()
    console.print(table)


def _image_name(found: Audit, split: str, index: int) -> str:
    """Return the name of an image's file, or its split and index if it has no file."""
    images = found.splits[split]
    if images.file_names is None:
        return f"{split} {index}"
    return images.file_names[images.ids.tolist().index(index)]


def _of_kind(findings: list[Finding], kind: str) -> list[Finding]:
    return [finding for finding in findings if finding.kind == kind]
