"""Render the tables of README and docs from the JSON in `results/`.

A table stands between the lines `<!-- table: NAME -->` and `<!-- end -->`. `rendering.TABLES` maps NAME to a function.

    python benchmarks/tables.py            write the tables into the pages
    python benchmarks/tables.py --check    change nothing; exit with 1 if a page is out of date
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from firstlight.errors import FirstlightError, UsageError
from firstlight.files import write_atomic
from rendering import TABLES

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MARKER = re.compile(r"<!-- table: (?P<name>[^\n]*?) -->")
BLOCK = re.compile(rf"(?P<start>{MARKER.pattern}\n)(?:(?!<!-- table: ).)*?(?P<end><!-- end -->)", re.DOTALL)


def render(text: str, page: str) -> str:
    """Return the text of a page with every table rendered from the results.

    Raises:
        UsageError: The page names an unknown table, or a table has no end.
    """
    for marker in MARKER.finditer(text):
        if marker["name"] not in TABLES:
            raise UsageError(f"{page}: no table is called {marker['name']!r}: choose one of {', '.join(TABLES)}")
        if not BLOCK.match(text, marker.start()):
            raise UsageError(f"{page}: put '<!-- end -->' behind the table {marker['name']!r}")
    return BLOCK.sub(lambda block: f"{block['start']}{TABLES[block['name']]()}\n{block['end']}", text)


def update(pages: list[Path], *, is_check: bool) -> list[Path]:
    """Return the pages that are out of date; write them anew unless `is_check`."""
    rendered = {page: render(page.read_text(encoding="utf-8"), page.name) for page in pages}
    stale = [page for page in pages if rendered[page] != page.read_text(encoding="utf-8")]
    for page in stale if not is_check else ():
        write_atomic(page, rendered[page])
    return stale


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if a page is out of date")
    options = parser.parse_args()
    try:
        stale = update(PAGES, is_check=options.check)
    except FirstlightError as error:
        parser.exit(2, f"{error}\n")
    for page in stale:
        print(f"{page.relative_to(ROOT)}: {'out of date' if options.check else 'rendered'}")
    sys.exit(1 if options.check and stale else 0)


if __name__ == "__main__":
    main()
