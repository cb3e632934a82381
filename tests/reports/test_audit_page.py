"""The page of an audit: its cards, its decisions, and that names of any kind stay text."""

from __future__ import annotations

import re
from dataclasses import replace

import torch

from firstlight.reports.audit import Audit, audit
from firstlight.reports.audit_page import render_audit
from reports.test_audit import WRONG, planted, predictions_of

HOSTILE = ("<script>alert(1)</script>", '" onmouseover="alert(1)"', "\u202e\u05d0\u05d1 " + "w" * 200, "&amp; #=%")


def made(names: tuple[str, ...] | None = None) -> Audit:
    splits = planted()
    if names:
        splits = {name: replace(images, class_names=names) for name, images in splits.items()}
        files = tuple(f"{names[0]}/{row}.png" for row in range(192))
        splits["train"] = replace(splits["train"], file_names=files)
    held_out = {name: predictions_of(images, torch.arange(len(images)) % 4) for name, images in splits.items()}
    return audit("planted <b>", splits, held_out)


def test_the_page_shows_every_finding_with_its_images() -> None:
    page = render_audit(made())
    assert {int(row) for row in re.findall(r'class="numbers">suspicion [^,]*, train image (\d+)', page)} == set(WRONG)
    assert "Exact copies with different labels, in train" in page
    assert page.count("<select data-split") == len(WRONG) + 6 + page.count(", threshold ")
    assert "1 of 83 test images is also among the training images" in page
    assert page.count('<img src="data:image/png;base64,') >= len(WRONG) + 6
    assert not re.search(r"https?://|\son\w+=", page)


def test_the_largest_number_of_cards_is_kept_and_said() -> None:
    page = render_audit(made(), max_images=1)
    assert "The 1 most suspect of 3 labels" in page
    assert "The first 1 of 3 groups" in page
    assert page.count("<select data-split") == 1 + 2 + page.count(", threshold ")


def test_names_of_strangers_stay_text() -> None:
    page = render_audit(made(HOSTILE))
    assert page.count("<script") == 2, "the page's own data and script"
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert '" onmouseover="' not in page
    assert "planted <b>" not in page
