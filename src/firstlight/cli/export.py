"""`firstlight export [RUN] --to KIND DIR`: write a folder to share."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from firstlight.cli.parser import Parser
from firstlight.cli.which_run import MOVED_DATA_DIR_HELP, RUN_HELP, add_run_argument, open_run
from firstlight.errors import UsageError
from firstlight.paths import user_path

if TYPE_CHECKING:
    from jsonargparse import Namespace

    from firstlight.export.bundle import Bundle

KINDS = ("hub", "space", "bundle")
BUNDLED = "bundled"
LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]*")  # identifier of a licence on the hub
DESCRIPTION = (
    "Write a folder to share: hub for a model hub (weights, configuration, card), space for a Hugging Face Space (the "
    "live demo, ready to push), or bundle for the measured model that the app opens. A bundle without DIR replaces the "
    "bundled model."
)


def run(arguments: Sequence[str]) -> None:
    """Measure the run if it has not been measured yet, write the folder, print its path."""
    options = build_parser().parse(arguments)
    kind, folder_name = _split(options.to)
    _check(kind, options)
    from firstlight.cli.quiet import quiet_lightning
    from firstlight.export.bundle import BUNDLED_PATH
    from firstlight.whole_folder import whole_folder

    quiet_lightning()
    target = BUNDLED_PATH if folder_name is None else user_path(folder_name)
    with whole_folder(target, options.overwrite or folder_name is None) as folder:
        bundle = _open(options)
        _warn_of_private_images(kind, bundle, target, options.without_images)
        _write(kind, bundle, folder, options)
    print(target)


def build_parser() -> Parser:
    """Return the verb's parser."""
    parser = Parser("export", DESCRIPTION, usage="firstlight export [RUN] --to KIND DIR [OPTION ...]")
    description = f"{RUN_HELP}, a bundle, or {BUNDLED} for the model that comes with firstlight"
    add_run_argument(parser, description=description)
    parser.add_argument(
        "--to", type=str, nargs="+", required=True, help=f"what to write ({', '.join(KINDS)}), and the folder for it"
    )
    parser.add_argument("--data_dir", type=str, default=None, help=MOVED_DATA_DIR_HELP)
    parser.add_argument(
        "--calibrate_on",
        type=str,
        default=None,
        help="a run of the same recipe with validation images; needed if RUN was trained on all images",
    )
    parser.add_argument(
        "--without_images",
        action="store_true",
        help="leave out the example images and the misclassified test images, for instance because they are private",
    )
    parser.add_argument(
        "--license",
        type=str,
        default=None,
        help="licence that you give the weights, for instance mit; without it the card names none",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what an earlier export wrote into the folder")
    return parser


def _open(options: Namespace) -> Bundle:
    from firstlight.export.bundle import bundled
    from firstlight.export.open_bundle import open_bundle

    if options.run == BUNDLED:
        return bundled()
    named = options.run if options.run is not None else open_run(None, options.logs_dir).path
    return open_bundle(named, options.data_dir, options.calibrate_on)


def _split(to: Sequence[str]) -> tuple[str, str | None]:
    """Return the kind and the folder of `--to KIND DIR`; only a bundle has a default folder."""
    kind, *rest = to
    if kind not in KINDS:
        raise UsageError(f"--to {kind}: choose one of {', '.join(KINDS)}, and name a folder")
    if len(rest) > 1 or (not rest and kind != "bundle"):
        raise UsageError(f"--to {kind} needs one folder: firstlight export RUN --to {kind} DIR")
    return kind, rest[0] if rest else None


def _check(kind: str, options: Namespace) -> None:
    if options.without_images and kind == "hub":
        raise UsageError("--without_images does nothing for hub: a hub folder contains no images")
    if options.license is not None and not LICENCE.fullmatch(options.license):
        raise UsageError(f"--license {options.license}: name it by its identifier, for instance mit or cc-by-4.0")


def _warn_of_private_images(kind: str, bundle: Bundle, target: Path, without_images: bool) -> None:
    """Print one line if the folder to share will contain images that are not published."""
    if kind == "hub" or without_images or bundle.data.is_public or not bundle.has_images:
        return
    num_examples, num_wrong = len(bundle.examples), len(bundle.mistakes.images)
    print(
        f"warning: {target} will contain {num_examples + num_wrong} test images of {bundle.data.name} ({num_examples} "
        f"examples, {num_wrong} misclassified) with their file names; everyone who can open the folder sees them. "
        "--without_images leaves them out.",
        file=sys.stderr,
        flush=True,
    )


def _write(kind: str, bundle: Bundle, folder: Path, options: Namespace) -> None:
    with_images = not options.without_images
    if kind == "hub":
        from firstlight.export.hub import write_hub

        write_hub(bundle, folder, options.license)
    elif kind == "space":
        from firstlight.export.space import write_space

        write_space(bundle, folder, options.license, with_images)
    else:
        from firstlight.export.copy_bundle import copy_bundle

        copy_bundle(bundle, folder, options.license, with_images)
