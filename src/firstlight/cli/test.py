"""`firstlight test [RUN]`: test a run again, or on other labelled images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from firstlight.cli.parser import Parser
from firstlight.cli.which_run import add_run_argument, open_run

DESCRIPTION = (
    "Test a run again on its own test images, or on another data set. Results on other images go to a folder of their "
    "own, and the run keeps its predictions and results."
)
TEST_DATA_DIR_HELP = (
    "a folder of labelled images, one folder per class, or the folder of a data set; the run's own data if it moved"
)


def run(arguments: Sequence[str]) -> None:
    """Test the weights of a run, and print accuracy, loss and the metrics of each class."""
    options = build_parser().parse(arguments)
    from firstlight.cli.quiet import quiet_lightning
    from firstlight.errors import UsageError
    from firstlight.training.external_test import external_test, is_own_test
    from firstlight.training.retest import retest

    quiet_lightning()
    tested = open_run(options.run, options.logs_dir)
    if is_own_test(tested, options.data_dir, options.data):
        if options.out is not None:
            raise UsageError("--out is for tests on other images; results on the run's own test images stay with it")
        metrics = retest(tested, options.data_dir)
        _print(metrics, tested.results, tested.recipe.views)
    else:
        found = external_test(tested, options.data_dir, options.data, options.out)
        _print(found.results, found.results, tested.recipe.views)
        print(f"tested on {found.data_name}; results: {found.path}")


def build_parser() -> Parser:
    """Return the verb's parser."""
    parser = Parser("test", DESCRIPTION)
    add_run_argument(parser)
    parser.add_argument("--data_dir", type=str, default=None, help=TEST_DATA_DIR_HELP)
    parser.add_argument("--data", type=str, default=None, help="name of another data set, for instance watermark")
    parser.add_argument(
        "--out",
        type=str,
        default=None,
        help="folder of the results on other images, if not tests/<name of the data> in the run folder",
    )
    return parser


def _print(metrics: Mapping[str, float], results: Mapping[str, Any], views: str) -> None:
    from firstlight.cli.output import print_classes

    print(f"test_acc {metrics['test_acc']:.4f}  test_loss {metrics['test_loss']:.4f}  (single view)")
    if "test_acc_tta" in metrics:
        print(f"test_acc_tta {metrics['test_acc_tta']:.4f}  (tta: {views})")
    print_classes(results)
