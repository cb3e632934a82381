"""`firstlight report [RUN]`: write the HTML report of a run."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from firstlight.cli.parser import METHOD_HELP, Parser
from firstlight.cli.which_run import MOVED_DATA_DIR_HELP, add_run_argument, open_run

if TYPE_CHECKING:
    from firstlight.data.images import ImageSet
    from firstlight.runs.run import Run
    from firstlight.training.data_module import ImageData

DESCRIPTION = "Write one HTML file with the metrics of a run, its mistakes and their attribution maps."
DEFAULT_MAX_MISTAKES = 1000  # `reports.gallery.MAX_MISTAKES`, repeated here so that --help does not load torch
PROJECTIONS = ("pca", "umap")  # `reports.feature_map.PROJECTIONS`, repeated for the same reason


def run(arguments: Sequence[str]) -> None:
    """Write the report and print its path, or print its numbers as JSON."""
    options = build_parser().parse(arguments)
    from firstlight.cli.quiet import quiet_lightning
    from firstlight.data.row_progress import row_progress
    from firstlight.reports.run_report import report_numbers, write_report
    from firstlight.training.retest import load_test_images

    quiet_lightning()
    chosen = open_run(options.run, options.logs_dir)
    data = load_test_images(chosen, options.data_dir)
    images = data.test
    attributes = data.source.file_attributes(images)
    if options.json:
        print(json.dumps(report_numbers(chosen, images, attributes), indent=2))
        return
    out = Path(options.out) if options.out else None
    with row_progress("features of the training images") as on_image:
        path = write_report(
            chosen,
            images,
            out,
            method=options.method,
            stage=options.stage,
            max_mistakes=options.max_mistakes,
            train=None if options.without_training_images else _training_images(chosen, data),
            attributes=attributes,
            projection=options.projection,
            on_image=on_image,
        )
    print(path)


def _training_images(run: Run, data: ImageData) -> ImageSet | None:
    """Return the training images; None if they cannot be read, after printing the reason."""
    from firstlight.errors import DataError
    from firstlight.training.retest import load_train_images

    try:
        return load_train_images(run, data)
    except DataError as error:
        print(f"the report shows no training images: {error}", file=sys.stderr)
        return None


def build_parser() -> Parser:
    """Return the verb's parser."""
    parser = Parser("report", DESCRIPTION)
    add_run_argument(parser)
    parser.add_argument("--data_dir", type=str, default=None, help=MOVED_DATA_DIR_HELP)
    parser.add_argument("--method", type=str, default="auto", help=METHOD_HELP)
    parser.add_argument(
        "--stage", type=str, default=None, help="stage of the maps, for instance layer3, or all to fuse the stages"
    )
    parser.add_argument(
        "--max_mistakes", type=int, default=DEFAULT_MAX_MISTAKES, help="largest number of mistakes shown"
    )
    parser.add_argument(
        "--without_training_images",
        action="store_true",
        help="omit the training images that explain each mistake, and the forward pass over all training images that "
        "finds them",
    )
    parser.add_argument(
        "--out", type=str, default=None, help="file to write (by default report.html in the run folder)"
    )
    parser.add_argument(
        "--projection",
        choices=PROJECTIONS,
        default=PROJECTIONS[0],
        help="projection of the map of the features: principal components, or UMAP (pip install 'firstlight[umap]')",
    )
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON instead of writing the page")
    return parser
