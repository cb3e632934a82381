"""`firstlight compare RUN RUN...`: say whether one run is better than another, and on which images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from firstlight.cli.parser import METHODS_HELP, Parser

if TYPE_CHECKING:
    from firstlight.reports.run_comparison import RunComparison

DESCRIPTION = (
    "Compare runs that were tested on the same images: print differences with intervals and significance tests, and "
    "write one HTML file with the images that one run gets right and another wrong. Runs whose recipes differ only in "
    "the seed form a group."
)
SHORT_NAMES = {"accuracy": "accuracy", "nll": "NLL", "ece": "ECE"}
DEFAULT_MAX_IMAGES = 24  # `reports.comparison_page.MAX_IMAGES`, repeated here so that --help does not load torch


def run(arguments: Sequence[str]) -> None:
    """Print the comparison and write its page, or print its numbers as JSON."""
    options = build_parser().parse(arguments)
    from firstlight.attribution import DEFAULT_METHOD
    from firstlight.cli.quiet import quiet_lightning
    from firstlight.errors import UsageError
    from firstlight.paths import user_path
    from firstlight.reports.comparison_page import FILE_NAME, write_comparison
    from firstlight.reports.run_comparison import compare_runs
    from firstlight.runs.run import load
    from firstlight.training.retest import load_test_images

    quiet_lightning()
    if options.max_images < 1:
        raise UsageError(f"--max_images must be 1 or more, not {options.max_images}")
    runs = [load(path) for path in options.runs]
    comparison = compare_runs(runs)
    if options.json:
        print(json.dumps(comparison.numbers(), indent=2))
        return
    print_comparison(comparison)
    images = load_test_images(runs[0], options.data_dir).test
    out = user_path(options.out) if options.out else runs[0].path / FILE_NAME
    write_comparison(comparison, images, out, method=options.method or DEFAULT_METHOD, max_images=options.max_images)
    print(out)


def build_parser() -> Parser:
    """Return the verb's parser."""
    parser = Parser("compare", DESCRIPTION)
    parser.add_argument("runs", type=str, nargs="+", metavar="RUN", help="run folders, at least two")
    parser.add_argument(
        "--data_dir", type=str, default=None, help="folder of the first run's data set, if it was moved"
    )
    parser.add_argument("--method", type=str, default=None, help=f"attribution method of the maps: {METHODS_HELP}")
    parser.add_argument(
        "--max_images", type=int, default=DEFAULT_MAX_IMAGES, help="largest number of images for each pair of runs"
    )
    parser.add_argument(
        "--out", type=str, default=None, help="file to write (by default compare.html in the first run folder)"
    )
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON instead of writing the page")
    return parser


def print_comparison(comparison: RunComparison) -> None:
    """Print a table of the runs, a table of the differences, and the verdicts."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from firstlight.evaluation.comparison import METRICS
    from firstlight.reports.compared_groups import difference_texts

    console = Console(soft_wrap=True, markup=False, emoji=False)  # names are the user's own
    has_groups = any(len(group.runs) > 1 for group in comparison.groups)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    table.add_column("", overflow="fold")
    for heading in ("accuracy", "95 % interval", *["deviation"] * has_groups, "NLL", "ECE"):
        table.add_column(heading, justify="right")
    for group in comparison.groups:
        accuracy, nll, ece = (group.summaries[metric] for metric in METRICS)
        low, high = group.interval
        deviation = ["" if accuracy.deviation is None else f"{accuracy.deviation:.2%}"] * has_groups
        interval = f"{low:.2%} to {high:.2%}"
        table.add_row(group.letter, f"{accuracy.mean:.2%}", interval, *deviation, f"{nll.mean:.4f}", f"{ece.mean:.2%}")
    console.print(table)
    for name, run in comparison.runs:
        console.print(f"{name}: {run.path} (seed {run.recipe.seed})", highlight=False)
    console.print()
    differences = Table(box=box.SIMPLE_HEAD, show_edge=False)
    for heading in ("", "metric", "difference", "95 % interval"):
        differences.add_column(heading, justify="left" if heading in ("", "metric") else "right")
    for pair in comparison.pairs:
        for metric, found in pair.differences.items():
            name = f"{pair.second.letter} - {pair.first.letter}"
            differences.add_row(name, SHORT_NAMES[metric], *difference_texts(metric, found))
    console.print(differences)
    for pair in comparison.pairs:
        console.print(pair.verdict, highlight=False)
