"""`firstlight predict IMAGE-OR-FOLDER...`: classify your own images."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from firstlight.cli.parser import METHODS_HELP, Parser, figure_path
from firstlight.cli.which_run import add_run_argument, open_run, report_choice
from firstlight.errors import UsageError
from firstlight.paths import printable, user_path, without_control_characters

if TYPE_CHECKING:
    from jsonargparse import Namespace

    from firstlight.evaluation.picture_prediction import Prediction
    from firstlight.runs.predictor import ModelDescription, Predictor

MAX_DRAWN = 64
UNCALIBRATED = "; its probabilities are not calibrated"
MAX_COLUMNS = 5  # classes that fit in a row of 80 columns; more are listed in one column
RUN_HELP = (
    "a run folder, a folder that `firstlight export` wrote, or bundled for the model that comes with firstlight (by "
    "default the newest run in --logs_dir, or else the bundled model)"
)
DESCRIPTION = (
    "Classify your own images: print the most probable classes of each image with their probabilities. A line after "
    "the predictions names each image that cannot be read and the reason; the exit status is then 2."
)


def run(arguments: Sequence[str]) -> None:
    """Predict every image and print a table, CSV or JSON."""
    parser = Parser("predict", DESCRIPTION)
    parser.add_argument("images", type=str, nargs="+", help="image files, or folders, zip or tar files of images")
    add_run_argument(parser, "--run", RUN_HELP)
    parser.add_argument("--top", type=int, default=3, help="number of classes to list for each image")
    parser.add_argument("--format", default="table", choices=["table", "csv", "json"], help="format of the output")
    parser.add_argument(
        "--cam",
        type=str,
        default=None,
        help="draw the evidence for each prediction into this file (.png, .svg or .pdf)",
    )
    parser.add_argument(
        "--method",
        type=str,
        default=None,
        help=f"method of --cam: {METHODS_HELP}",
    )
    parser.add_argument(
        "--stage",
        type=str,
        default=None,
        help="stage of --cam: for instance layer3, or all to fuse the stages",
    )
    options = parser.parse(arguments)
    if options.top < 1:
        raise UsageError(f"--top must be 1 or more, not {options.top}")
    if options.cam:
        figure_path("--cam", options.cam)  # reject a wrong file name before anything is computed
    for each in options.images:
        if (user_path(each) / "recipe.yaml").is_file():
            raise UsageError(f"{each} is a run folder, not a folder of images: name it as --run {each}")
    from firstlight.data.folder.packed import unpacked_path
    from firstlight.data.image_files import find_images

    chosen = _choose(options.run, options.logs_dir)
    opened = {unpacked_path(user_path(each)): user_path(each) for each in options.images}
    paths, refusals = find_images(list(opened))
    predictions, unreadable = _predict(chosen, paths)
    refusals |= unreadable
    paths = [path for path in paths if path not in refusals]
    if predictions:
        if options.cam:
            _draw(chosen, paths, predictions, options)
        paths = [_named(path, opened) for path in paths]
        print_answers = {"table": _print_table, "csv": _print_csv, "json": _print_json}[options.format]
        print_answers(chosen.description, paths, predictions, options.top)
    _report({_named(path, opened): reason for path, reason in refusals.items()}, len(predictions))


def _named(path: Path, opened: Mapping[Path, Path]) -> Path:
    """Return the path in the archive that the user named, of an image that was unpacked from it."""
    folder = next((each for each in opened if opened[each] != each and path.is_relative_to(each)), None)
    return path if folder is None else opened[folder] / path.relative_to(folder)


def _predict(run: Predictor, paths: Sequence[Path]) -> tuple[list[Prediction], dict[Path, str]]:
    """Return the predictions of the readable images, in order, and the reason for each image that is not readable."""
    from firstlight.errors import DataError

    predictions, refusals = [], {}
    for path, answer in zip(paths, run.predict_each(paths), strict=True):
        if isinstance(answer, DataError):
            refusals[path] = str(answer).removeprefix(f"{path}: ")
        else:
            predictions.append(answer)
    return predictions, refusals


def _report(refusals: dict[Path, str], num_predicted: int) -> None:
    """Print a line for each path without a prediction.

    Raises:
        DataError: A path has no prediction; the exit status is then 2.
    """
    if not refusals:
        return
    from firstlight.errors import DataError

    lines = [f"{printable(path)}: {reason}" for path, reason in refusals.items()]
    if len(lines) == 1 and not num_predicted:
        raise DataError(lines[0])
    sys.stdout.flush()
    for line in lines:
        print(f"firstlight predict: {line}", file=sys.stderr)
    raise DataError(f"no prediction for {len(lines):,} of {len(lines) + num_predicted:,} files, for the reasons above")


def _choose(path: str | None, logs_dir: str) -> Predictor:
    """Open the named model; without a name, open the newest run or else the bundled model, and print which one."""
    from firstlight.errors import RunError
    from firstlight.export.bundle import BUNDLED_NAME, MEASURED_NAME, Bundle, bundled
    from firstlight.runs.model_config import NAME as CONFIG_NAME
    from firstlight.runs.pretrained import Pretrained
    from firstlight.runs.run import load

    if path == BUNDLED_NAME:
        return bundled()
    if path is not None:
        if (user_path(path) / MEASURED_NAME).is_file():
            return Bundle(path)
        return Pretrained(path) if (user_path(path) / CONFIG_NAME).is_file() else load(path)
    try:
        return open_run(None, logs_dir)
    except RunError as no_run:
        try:
            model = bundled()
        except RunError:
            raise RunError(f"{no_run}. This copy of firstlight contains no trained model.") from no_run
        report_choice(f"the model {model.description}")
        return model


def _draw(run: Predictor, paths: Sequence[Path], predictions: Sequence[Prediction], options: Namespace) -> None:
    """Draw every picture with its map; this comes before printing, so that an error leaves no partial output."""
    from firstlight.attribution import DEFAULT_METHOD
    from firstlight.cli.quiet import quiet_lightning
    from firstlight.plots.figure import save_figure
    from firstlight.reports.explained_predictions import draw_predictions

    quiet_lightning()
    if len(paths) > MAX_DRAWN:
        raise UsageError(f"--cam draws up to {MAX_DRAWN} images on a sheet, not {len(paths)}: name fewer")
    figure = draw_predictions(run, paths, predictions, options.top, options.method or DEFAULT_METHOD, options.stage)
    path = figure_path("--cam", options.cam)
    save_figure(figure, path)
    print(f"maps: {path}", file=sys.stderr)


def _print_table(model: ModelDescription, paths: Sequence[Path], predictions: Sequence[Prediction], top: int) -> None:
    """Print a line about the model and a row for each image; a last column appears if an image needs a note."""
    from rich.console import Console
    from rich.table import Table

    table = Table()
    table.add_column("image", overflow="fold")
    num_classes = min(top, len(predictions[0].probabilities))
    is_wide = num_classes <= MAX_COLUMNS
    for heading in [f"top {rank}" for rank in range(1, num_classes + 1)] if is_wide else [f"top {num_classes}"]:
        table.add_column(heading)
    has_notes = any(prediction.is_novel for prediction in predictions)
    if has_notes:
        table.add_column("note")
    for path, prediction in zip(paths, predictions, strict=True):
        cells = [f"{name} {probability:.1%}" for name, probability in prediction.top(top)]
        notes = ["unlike the training data" if prediction.is_novel else ""] if has_notes else []
        table.add_row(
            without_control_characters(str(path)),
            *(cells if is_wide else ["\n".join(cells)]),
            *notes,
            end_section=not is_wide,
        )
    console = Console(markup=False, emoji=False, highlight=False)  # names are the user's own
    console.print(f"{model}{'' if model.is_calibrated else UNCALIBRATED}", soft_wrap=True)
    console.print(table)


def _print_csv(model: ModelDescription, paths: Sequence[Path], predictions: Sequence[Prediction], top: int) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    about = {"model": model.name, "recipe": model.recipe, "data": model.data, "test_accuracy": model.test_accuracy}
    writer.writerow(["image", "rank", "label", "probability", "unlike_training_data", *about])
    for path, prediction in zip(paths, predictions, strict=True):
        for rank, (name, probability) in enumerate(prediction.top(top), start=1):
            is_novel = "" if prediction.is_novel is None else str(prediction.is_novel).lower()
            writer.writerow(
                [without_control_characters(str(path)), rank, name, f"{probability:.6f}", is_novel, *about.values()]
            )


def _print_json(model: ModelDescription, paths: Sequence[Path], predictions: Sequence[Prediction], top: int) -> None:
    answer = [
        {
            "image": str(path),
            "top": [{"label": name, "probability": round(p, 6)} for name, p in prediction.top(top)],
            "unlike_training_data": prediction.is_novel,
            "model": asdict(model),
        }
        for path, prediction in zip(paths, predictions, strict=True)
    ]
    print(json.dumps(answer, indent=2))
