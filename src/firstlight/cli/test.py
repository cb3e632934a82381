"""`firstlight test [RUN]`: test a run again."""

from __future__ import annotations

from collections.abc import Sequence

from firstlight.cli.parser import Parser
from firstlight.cli.which_run import RUN_HELP, open_run


def run(arguments: Sequence[str]) -> None:
    """Test the weights of a run, replace its predictions, and print accuracy, loss and the metrics of each class."""
    parser = Parser("test", "Measure a run on the test split again.")
    parser.add_argument("run", type=str, nargs="?", default=None, help=RUN_HELP)
    parser.add_argument("--data_dir", type=str, default=None, help="where the data set is, if it moved")
    options = parser.parse(arguments)
    from firstlight.cli.output import print_classes
    from firstlight.cli.quiet import quiet_lightning
    from firstlight.training.retest import retest

    quiet_lightning()
    tested = open_run(options.run)
    metrics = retest(tested, options.data_dir)
    print(f"test_acc {metrics['test_acc']:.4f}  test_loss {metrics['test_loss']:.4f}  (single view)")
    if "test_acc_tta" in metrics:
        print(f"test_acc_tta {metrics['test_acc_tta']:.4f}  (tta: {tested.recipe.views})")
    print_classes(tested.results)
