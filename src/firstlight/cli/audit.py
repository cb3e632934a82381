"""`firstlight audit DATA_OR_RUN`: find wrong labels, copies, odd images and spurious signs in a data set."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from firstlight.cli.parser import DECISIONS_HELP, Parser, add_column_options
from firstlight.errors import UsageError
from firstlight.paths import DEFAULT_DATA_DIR, DEFAULT_LOGS_DIR, user_path

if TYPE_CHECKING:
    from jsonargparse import Namespace

    from firstlight.data.source import Source
    from firstlight.reports.audit import Audit

DESCRIPTION = (
    "Find what is wrong with a data set: labels that are probably wrong, copies within and between the splits, odd "
    "images, and properties that alone predict a class. Writes audit.html and audit.csv; the images are never changed. "
    "A data set is cross-validated for this, so that each image is judged by a network that was not trained on it. A "
    "run is judged on its test images alone."
)
TARGET_HELP = (
    "a folder of images with one subfolder per class, an archive of it, a CSV of file and label, the name of a data "
    "set (also hf:NAME), or a run folder"
)
DEFAULT_MAX_IMAGES = 200  # `reports.audit_page.MAX_IMAGES`, repeated here to load no torch for --help
ONLY_TEST = (
    "Only the labels of the test images were checked, because the run was trained on the others. The audit of a data "
    "set checks all labels."
)
NO_TRAINING = "Labels were not checked (--without_training)."
HTML, CSV = "audit.html", "audit.csv"


def run(arguments: Sequence[str]) -> None:
    """Audit the data set, write the page and the table, and print a summary."""
    options = build_parser().parse(arguments)
    if options.max_images < 1:
        raise UsageError(f"--max_images must be 1 or more, not {options.max_images}")
    from firstlight.cli.quiet import quiet_lightning

    quiet_lightning()
    target = user_path(options.target)
    is_run = (target / "recipe.yaml").is_file()
    found = audit_run(options) if is_run else audit_data(options)
    if options.json:
        print(json.dumps(found.numbers(), indent=2))
        return
    from firstlight.cli.audit_summary import print_audit
    from firstlight.files import write_atomic
    from firstlight.reports.audit import as_csv
    from firstlight.reports.audit_page import render_audit

    folder = target if is_run else folder_of_audit(options, found.name)
    folder = user_path(options.out) if options.out else folder
    write_atomic(folder / CSV, as_csv(found.findings()))
    write_atomic(folder / HTML, render_audit(found, options.max_images))
    print_audit(found)
    print(folder / CSV)
    print(folder / HTML)


def build_parser() -> Parser:
    """Return the verb's parser."""
    parser = Parser("audit", DESCRIPTION)
    parser.add_argument("target", type=str, metavar="DATA_OR_RUN", help=TARGET_HELP)
    parser.add_argument(
        "--data_dir", type=str, default=None, help="folder that holds the data sets, or the run's data set if it moved"
    )
    add_column_options(parser)
    parser.add_argument("--folds", type=int, default=5, metavar="K", help="number of folds of the cross-validation")
    parser.add_argument("--recipe", type=str, default="demo", help="recipe to cross-validate; demo is a quick one")
    parser.add_argument("--epochs", type=int, default=None, help="number of epochs, if not the recipe's")
    parser.add_argument("--image_size", type=int, default=0, help="side of a folder's images after resizing")
    parser.add_argument(
        "--without_near_copies",
        action="store_true",
        help="look for exact copies only; near copies among 60,000 images take minutes",
    )
    parser.add_argument("--without_training", action="store_true", help="check no labels, so that nothing is trained")
    parser.add_argument(
        "--max_images", type=int, default=DEFAULT_MAX_IMAGES, help="largest number of findings of a kind on the page"
    )
    parser.add_argument("--logs_dir", type=str, default=DEFAULT_LOGS_DIR, help="folder of the runs and of the audit")
    parser.add_argument(
        "--out", type=str, default=None, metavar="DIR", help="folder to write to, if not the run's or logs/audit/NAME"
    )
    parser.add_argument("--decisions", type=str, default=None, metavar="FILE", help=DECISIONS_HELP)
    parser.add_argument("--json", action="store_true", help="print the findings as JSON instead of writing files")
    return parser


def audit_run(options: Namespace) -> Audit:
    """Audit the data set of a run: the labels of its test images, and copies among all images.

    Decisions only hide findings here: they cannot change the images that the run was trained and tested on.
    """
    from firstlight.data.decisions import decisions_from
    from firstlight.errors import DataError
    from firstlight.reports.label_audit import HeldOut
    from firstlight.reports.run_report import check_predictions
    from firstlight.runs.run import load
    from firstlight.training.retest import load_test_images

    chosen = load(options.target)
    data = load_test_images(chosen, options.data_dir)
    check_predictions(chosen, data.test)
    remarks = [ONLY_TEST]
    splits = {"test": data.test}
    try:
        train, val = data.source.train(), data.source.val()
        splits = {"train": train} | ({} if val is None else {"val": val}) | splits
    except DataError as error:
        remarks.append(f"Leaks were not searched: {error}")
    held_out = {"test": HeldOut(chosen.predictions, data.test.labels.new_zeros(len(data.test)), "the run")}
    files = {split: data.source.file_attributes(images) for split, images in splits.items()}
    name = str(chosen.data.get("name", "data"))
    decided = decisions_from(options.decisions) or chosen.decisions
    return compare_all(options, name, splits, held_out, files, remarks, decided=decided)


def audit_data(options: Namespace) -> Audit:
    """Audit a data set: all labels by cross-validation, and copies among all images."""
    from firstlight.data.decided_source import DecidedSource
    from firstlight.data.decisions import decisions_from
    from firstlight.recipes import get_recipe

    recipe = get_recipe(options.recipe)
    if options.folds < 2:
        raise UsageError(f"--folds must be 2 or more, not {options.folds}")
    source = open_target(options)
    source.fetch()
    decided = decisions_from(options.decisions)
    if decided is not None:
        source = DecidedSource(source, decided)
    val = source.val()
    splits = {"train": source.train()} | ({} if val is None else {"val": val}) | {"test": source.test()}
    files = {split: source.file_attributes(images) for split, images in splits.items()}
    name = source.describe()["name"]
    if options.without_training:
        return compare_all(options, name, splits, {}, files, [NO_TRAINING], decided=decided)
    from dataclasses import replace

    from firstlight.training.audit_predictions import predict_held_out

    if options.epochs is not None:
        recipe = replace(recipe, max_epochs=options.epochs)
    training = {"logger": "none", "decisions": decided}
    # Below the folder of the audit, where no command takes them for the newest run.
    runs = folder_of_audit(options, name)
    held_out = predict_held_out(source, splits, recipe, options.folds, runs, **training)
    return compare_all(options, name, splits, held_out, files, decided=decided)


def compare_all(options: Namespace, *arguments: Any, **named: Any) -> Audit:
    """Return the audit, with the progress of the search for near copies on stderr."""
    from firstlight.data.row_progress import row_progress
    from firstlight.reports.audit import audit

    with row_progress("searching near copies", unit="images") as on_image:
        return audit(*arguments, finds_near=not options.without_near_copies, progress=on_image, **named)


def folder_of_audit(options: Namespace, name: str) -> Path:
    """Return the folder for the audit of a data set, with its files and its runs."""
    return user_path(options.logs_dir) / "audit" / name


def open_target(options: Namespace) -> Source:
    """Open the data set that the user named: a name, a folder of images or of a data set, an archive or a CSV.

    Raises:
        UsageError: There is no such data set and no such folder.
    """
    from firstlight.data.hub_columns import Columns
    from firstlight.data.hub_layout import is_hub_name
    from firstlight.data.source import DEFAULT_NAME, SOURCES, open_source

    columns = Columns(options.image_column, options.label_column)
    if is_hub_name(options.target):
        return open_source(options.target, options.data_dir or DEFAULT_DATA_DIR, options.image_size, columns=columns)
    if options.target in SOURCES and not (Path(options.target).is_dir() and options.data_dir is None):
        return open_source(options.target, options.data_dir or DEFAULT_DATA_DIR, options.image_size)
    folder = user_path(options.target)
    if not folder.exists():
        names = ", ".join(name for name in SOURCES if name != "folder")
        raise UsageError(f"{options.target}: no such folder, and no data set of that name ({names})")
    return open_source(DEFAULT_NAME, folder, options.image_size, is_named=False, columns=columns)
