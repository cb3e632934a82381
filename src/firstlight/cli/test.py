"""`firstlight test [RUN]`: test a run again, or on other labelled images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from firstlight.cli.parser import Parser, add_column_options
from firstlight.cli.which_run import add_run_argument, open_run

DESCRIPTION = (
    "Test a run again on its own test images, or on another data set. The results on another data set are written to a "
    "separate folder; the run's own predictions and results stay unchanged."
)
TEST_DATA_DIR_HELP = (
    "a folder of labelled images with one subfolder per class, a zip or tar of it, a CSV of file and label, or the "
    "folder of a data set, for instance that of the run's own data set after it was moved"
)


def run(arguments: Sequence[str]) -> None:
    """Test the weights of a run, and print accuracy, loss and the metrics of each class."""
    options = build_parser().parse(arguments)
    from firstlight.cli.quiet import quiet_lightning
    from firstlight.data.hub_columns import Columns
    from firstlight.errors import UsageError
    from firstlight.training.external_test import external_test, is_own_test
    from firstlight.training.retest import retest

    quiet_lightning()
    tested = open_run(options.run, options.logs_dir)
    columns = Columns(options.image_column, options.label_column)
    if is_own_test(tested, options.data_dir, options.data, columns):
        if options.out is not None:
            raise UsageError("--out is for tests on another data set; results on the run's own stay in the run folder")
        metrics = retest(tested, options.data_dir)
        _print(metrics, tested.results, tested.recipe.views)
    else:
        found = external_test(tested, options.data_dir, options.data, options.out, columns)
        _print(found.results, found.results, tested.recipe.views)
        print(f"tested on {found.data_name}; results: {found.path}")


def build_parser() -> Parser:
    """Return the verb's parser."""
    parser = Parser("test", DESCRIPTION)
    add_run_argument(parser)
    parser.add_argument("--data_dir", type=str, default=None, help=TEST_DATA_DIR_HELP)
    parser.add_argument("--data", type=str, default=None, help="name of another data set: watermark, hf:NAME ...")
    add_column_options(parser)
    parser.add_argument(
        "--out",
        type=str,
        default=None,
        help="folder for the results on another data set (by default tests/<name of the data> in the run folder)",
    )
    return parser


def _print(metrics: Mapping[str, float], results: Mapping[str, Any], views: str) -> None:
    from firstlight.cli.output import print_classes

    print(f"test_acc {metrics['test_acc']:.4f}  test_loss {metrics['test_loss']:.4f}  (single view)")
    if "test_acc_tta" in metrics:
        print(f"test_acc_tta {metrics['test_acc_tta']:.4f}  (tta: {views})")
    print_classes(results)
