"""`firstlight explain [RUN]`: draw the misclassified test images of a run with their attribution maps."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from firstlight.cli.parser import METHOD_HELP, METHODS_HELP, Parser, figure_path
from firstlight.cli.which_run import MOVED_DATA_DIR_HELP, add_run_argument, open_run
from firstlight.paths import without_control_characters

if TYPE_CHECKING:
    from jsonargparse import Namespace

    from firstlight.data.images import ImageSet
    from firstlight.evaluation.mistakes import MistakeFilter
    from firstlight.reports.trust import MapChoice
    from firstlight.runs.run import Run

DESCRIPTION = "Draw misclassified test images with the evidence for the predicted and for the true class."

ALL = "all"
ORDERS = ["confidence", "margin", "loss", "index"]  # `evaluation.mistakes.MistakeOrder`, without importing torch


def run(arguments: Sequence[str]) -> None:
    """Draw the sheet into the run folder, or print the list, the maps, or their faithfulness, as the options ask."""
    options = build_parser().parse(arguments)
    from firstlight.cli.quiet import quiet_lightning
    from firstlight.training.retest import load_test_images

    quiet_lightning()
    chosen = open_run(options.run, options.logs_dir)
    if options.list:
        _print_list(chosen, options)
        return
    images = load_test_images(chosen, options.data_dir).test
    if options.evaluate:
        _print_evaluation(chosen, images, options)
    elif options.json:
        _print_maps(chosen, images, options)
    else:
        _draw(chosen, images, options)


def build_parser() -> Parser:
    """Return the verb's parser."""
    parser = Parser("explain", DESCRIPTION)
    add_run_argument(parser)
    parser.add_argument("--data_dir", type=str, default=None, help=MOVED_DATA_DIR_HELP)
    parser.add_argument(
        "--count", type=int, default=None, help="largest number of images (by default 12, and all with --list)"
    )
    parser.add_argument(
        "--list", action="store_true", help="print the images as CSV, with their file names, instead of drawing them"
    )
    parser.add_argument("--order", default="confidence", choices=ORDERS, help="which mistakes come first")
    parser.add_argument("--true", type=str, default=None, help="only images of this true class")
    parser.add_argument("--predicted", type=str, default=None, help="only images with this predicted class")
    parser.add_argument(
        "--index", type=int, nargs="+", default=[], help="indices of the test images to draw, misclassified or not"
    )
    parser.add_argument("--method", type=str, default=None, help=METHOD_HELP)
    parser.add_argument(
        "--stage", type=str, default=None, help="stage of the maps, for instance layer3, or all to fuse the stages"
    )
    parser.add_argument(
        "--target",
        type=str,
        default="true",
        help="what the second map explains: the true class (true), the predicted class minus the true class "
        "(contrast), or the class of this name",
    )
    parser.add_argument("--json", action="store_true", help="print the images and their maps as JSON, and draw nothing")
    parser.add_argument(
        "--out", type=str, default=None, help="file of the figure (by default misclassified.png in the run folder)"
    )
    parser.add_argument("--evaluate", action="store_true", help="measure the faithfulness of the maps")
    parser.add_argument(
        "--methods",
        type=str,
        nargs="+",
        default=[],
        help="with --evaluate: methods to measure, or all, which takes hours for a large network; by default the first "
        "six of " + METHODS_HELP,
    )
    parser.add_argument("--num_images", type=int, default=500, help="with --evaluate: number of test images")
    parser.add_argument("--seed", type=int, default=0, help="with --evaluate: seed of all random choices")
    return parser


def _draw(run: Run, images: ImageSet, options: Namespace) -> None:
    from firstlight.plots.figure import save_figure
    from firstlight.reports.explained_mistakes import misclassified_images

    target = figure_path("--out", options.out) if options.out else run.path / "misclassified.png"
    _check_number_of_images(run, images)
    if not len(run.predictions.misclassified()) and not (options.true or options.predicted or options.index):
        print(f"nothing to show: all {len(images):,} test images are classified right")
        return
    choice = _choose_maps(run, options)
    figure = misclassified_images(
        run.network, images, run.calibrated_predictions, _filter(options), choice.method, choice.stage, options.target
    )
    save_figure(figure, target)
    print(target)


def _print_maps(run: Run, images: ImageSet, options: Namespace) -> None:
    """Print the mistakes with their maps as JSON, for programs."""
    from firstlight.reports.explained_mistakes import explain_mistakes, maps_as_json

    _check_number_of_images(run, images)
    choice = _choose_maps(run, options)
    mistakes = _filter(options).select(run.calibrated_predictions, run.class_names)
    explained = explain_mistakes(run.network, images, mistakes, choice.method, choice.stage, options.target)
    print(json.dumps(maps_as_json(run.network, explained, choice.method, choice.stage, options.target)))


def _check_number_of_images(run: Run, images: ImageSet) -> None:
    from firstlight.errors import RunError

    if len(run.predictions) != len(images):
        raise RunError(f"{run.path}: its predictions are not of these test images; run `firstlight test {run.path}`")


def _choose_maps(run: Run, options: Namespace) -> MapChoice:
    from firstlight.attribution import DEFAULT_METHOD
    from firstlight.reports.trust import choose_maps

    choice = choose_maps(run, options.method or DEFAULT_METHOD, options.stage)
    if choice.reason:
        print(choice.reason, file=sys.stderr)
    return choice


def _filter(options: Namespace) -> MistakeFilter:
    from firstlight.evaluation.mistakes import DEFAULT_COUNT, MistakeFilter

    count = DEFAULT_COUNT if options.count is None and not options.list else options.count
    return MistakeFilter(count, options.true, options.predicted, tuple(options.index), options.order)


def _print_list(run: Run, options: Namespace) -> None:
    """Print a row of CSV for each misclassified image, from the run's predictions and without its data set."""
    from firstlight.data.source import FOLDER_NAME

    if run.predictions.file_names is None and run.recipe.data == FOLDER_NAME:
        hint = (
            f"{run.path} was tested by an older version, which stored no file names; to add them, run: "
            f"firstlight test {run.path}"
        )
        print(hint, file=sys.stderr)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["file", "index", "true", "predicted", "probability", "true_probability", "loss"])
    for mistake in _filter(options).select(run.calibrated_predictions, run.class_names):
        classes = run.class_names[mistake.true], run.class_names[mistake.predicted]
        numbers = (mistake.predicted_probability, mistake.true_probability, mistake.loss)
        file_name = without_control_characters(mistake.file_name or "")
        writer.writerow([file_name, mistake.index, *classes, *(f"{number:.6f}" for number in numbers)])


def _print_evaluation(run: Run, images: ImageSet, options: Namespace) -> None:
    from rich.console import Console

    from firstlight.attribution import METHODS, method_names
    from firstlight.data.row_progress import row_progress
    from firstlight.reports.trust import evaluation_table, measure_trust

    methods = method_names() if options.methods == [ALL] else tuple(options.methods) or tuple(METHODS)
    with row_progress("measuring") as on_row:
        rows = measure_trust(run, images, options.num_images, options.seed, on_row, methods)
    Console().print(evaluation_table(rows))
