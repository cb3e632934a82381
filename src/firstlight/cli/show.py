"""`firstlight show KIND`: draw the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING

from firstlight.cli.parser import DATA_DIR_HELP, Parser, add_column_options, figure_path
from firstlight.data.augmentation_config import Augmentation
from firstlight.errors import UsageError
from firstlight.paths import DEFAULT_DATA_DIR

if TYPE_CHECKING:
    from jsonargparse import Namespace

    from firstlight.plots.figure import Figure

DEFAULT_DATA = "drawn"
DESCRIPTION = "Draw images of a data set: random samples, a row per class, colour channels, or augmented views."
OWN_OPTIONS = {  # options of each kind of figure, besides the common options
    "samples": {"count"},
    "classes": {"count"},
    "channels": {"index"},
    "augmentation": {"count", "index", *(field.name for field in fields(Augmentation))},
}
MAX_COUNT = {"samples": 256, "classes": 32, "augmentation": 120}


def run(arguments: Sequence[str]) -> None:
    """Draw one figure of a data set into a file, and print its path."""
    parser = build_parser()
    options = parser.parse(arguments)
    target = figure_path("--out", options.out or f"{options.kind}.png")
    _refuse_ignored_options(options, parser.get_defaults())
    _refuse_count(options)
    from firstlight.cli.quiet import quiet_lightning
    from firstlight.files import atomic

    quiet_lightning()
    figure = _draw(options)
    with atomic(target) as temporary:
        figure.savefig(temporary, format=target.suffix.removeprefix("."))
    print(target)


def build_parser() -> Parser:
    """Return the parser of the verb."""
    from firstlight.data.source import SOURCES

    parser = Parser("show", DESCRIPTION)
    parser.add_argument("kind", choices=list(OWN_OPTIONS), help="kind of figure")
    parser.add_argument(
        "--data",
        type=str,
        default=None,
        help=f"the data set: {', '.join(SOURCES)}, or hf:NAME (by default drawn, or the images in --data_dir)",
    )
    parser.add_argument("--data_dir", type=str, default=DEFAULT_DATA_DIR, help=DATA_DIR_HELP)
    add_column_options(parser)
    parser.add_argument(
        "--image_size",
        type=int,
        default=0,
        help="side in pixels to which the images of a folder are resized; 0 chooses 32 for small images, 64 for others",
    )
    parser.add_argument("--split", default="train", choices=["train", "test"], help="split of the data set")
    parser.add_argument("--seed", type=int, default=0, help="seed of the chosen images and of the augmentation")
    parser.add_argument("--count", type=int, default=None, help="number of samples, of images per class, or of epochs")
    parser.add_argument(
        "--index",
        type=int,
        default=None,
        help="for channels and augmentation: index of the image (default: random)",
    )
    parser.add_argument("--out", type=str, default=None, help="file to draw, .png, .svg or .pdf (by default KIND.png)")
    parser.add_class_arguments(Augmentation)
    return parser


def _refuse_ignored_options(options: Namespace, defaults: Namespace) -> None:
    """Raise UsageError if an option is set that this kind of figure ignores."""
    for name in set().union(*OWN_OPTIONS.values()) - OWN_OPTIONS[options.kind]:
        if options[name] != defaults[name]:
            kinds = ", ".join(kind for kind, own in OWN_OPTIONS.items() if name in own)
            raise UsageError(f"--{name} does nothing for {options.kind}: it is for {kinds}")


def _refuse_count(options: Namespace) -> None:
    if options.count is not None and not 1 <= options.count <= MAX_COUNT[options.kind]:
        raise UsageError(f"--count must be 1 to {MAX_COUNT[options.kind]} for {options.kind}, not {options.count}")


def _draw(options: Namespace) -> Figure:
    from firstlight.data.hub_columns import Columns
    from firstlight.data.source import open_source
    from firstlight.reports.data_sheets import augmentation_views, channel_sheet, class_rows

    augmentation = Augmentation(**{field.name: options[field.name] for field in fields(Augmentation)})
    source = open_source(
        options.data or DEFAULT_DATA,
        options.data_dir,
        options.image_size,
        is_named=options.data is not None,
        columns=Columns(options.image_column, options.label_column),
    )
    images = source.read(options.split)
    count = {} if options.count is None else {"count": options.count}
    if options.kind == "samples":
        from firstlight.reports.data_sheets import random_samples

        return random_samples(images, options.seed, **count)
    if options.kind == "classes":
        return class_rows(images, options.seed, **count)
    if options.kind == "channels":
        return channel_sheet(images, options.index, options.seed)
    return augmentation_views(images, augmentation, options.index, options.seed, **count)
