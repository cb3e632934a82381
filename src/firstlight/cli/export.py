"""`firstlight export [RUN] --to KIND DIR`: write a folder to share."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from firstlight.cli.parser import Parser
from firstlight.cli.which_run import MOVED_DATA_DIR_HELP, RUN_HELP, add_run_argument, open_run
from firstlight.errors import MissingPackageError, UsageError
from firstlight.extras import install_command
from firstlight.paths import user_path

if TYPE_CHECKING:
    from jsonargparse import Namespace

    from firstlight.export.bundle import Bundle
    from firstlight.export.onnx.onnx_source import OnnxSource

KINDS = ("hub", "space", "web", "onnx", "bundle")
WEIGHTS = ("float32", "float16", "int8")
WITHOUT_IMAGES = ("hub", "onnx")  # kinds whose folder contains no images
NEEDS_ONNX = ("web", "onnx")  # kinds whose folder contains an ONNX file
BUNDLED = "bundled"
LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]*")  # identifier of a licence on the hub
DESCRIPTION = (
    "Write a folder to share: hub for a model hub (weights, configuration, card), space for a Hugging Face Space (the "
    "live demo, ready to push), web for a static page that runs the model in the visitor's browser, onnx for ONNX "
    "Runtime (one file from the picture to probabilities and map), or bundle for the measured model that the app "
    "opens. A bundle without DIR replaces the bundled model."
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
    if kind in NEEDS_ONNX:
        _check_onnx_packages(kind)
    if options.push is not None:
        from firstlight.export.push import check_push

        check_push(kind, options.push)
    target = BUNDLED_PATH if folder_name is None else user_path(folder_name)
    with whole_folder(target, options.overwrite or folder_name is None) as folder:
        if kind == "onnx":
            _write_onnx(folder, options)
        else:
            bundle = _open(options)
            _warn_of_private_images(kind, bundle, target, options.without_images)
            _write(kind, bundle, folder, options)
    print(target)
    if options.push is not None:
        from firstlight.export.push import push

        print(push(target, kind, options.push))


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
    parser.add_argument(
        "--weights",
        type=str,
        default="float32",
        help="how onnx stores the weights: float32, float16 (half the size) or int8 (a quarter of the size, less "
        "exact; needs the training images)",
    )
    parser.add_argument(
        "--push",
        type=str,
        default=None,
        help="also upload the folder to this repository on the Hugging Face hub (USER/NAME; needs `hf auth login`)",
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
    if options.without_images and kind in WITHOUT_IMAGES:
        raise UsageError(f"--without_images does nothing for {kind}: the folder contains no images")
    if options.weights not in WEIGHTS:
        raise UsageError(f"--weights {options.weights}: choose one of {', '.join(WEIGHTS)}")
    if options.weights != WEIGHTS[0] and kind != "onnx":
        raise UsageError(f"--weights does nothing for {kind}: it is for --to onnx")
    if options.license is not None and not LICENCE.fullmatch(options.license):
        raise UsageError(f"--license {options.license}: name it by its identifier, for instance mit or cc-by-4.0")


def _check_onnx_packages(kind: str) -> None:
    """Raise MissingPackageError unless the packages of the extra `onnx` are installed."""
    missing = [name for name in ("onnx", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise MissingPackageError(
            f"--to {kind} needs {' and '.join(missing)}, not installed here: {install_command('onnx')}"
        )


def _warn_of_private_images(kind: str, bundle: Bundle, target: Path, without_images: bool) -> None:
    """Print one line if the folder to share will contain images that are not published."""
    if kind in WITHOUT_IMAGES or without_images or bundle.data.is_public or not bundle.has_images:
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
    elif kind == "web":
        from firstlight.export.web.site import write_web

        write_web(bundle, folder, options.license, with_images)
    else:
        from firstlight.export.copy_bundle import copy_bundle

        copy_bundle(bundle, folder, options.license, with_images)


def _write_onnx(folder: Path, options: Namespace) -> None:
    from firstlight.export.onnx.onnx_folder import write_onnx

    source = _open_for_onnx(options)
    data = source.open_data(options.data_dir) if options.weights == "int8" else None
    print(write_onnx(source, folder, options.weights, data=data, licence=options.license), file=sys.stderr, flush=True)


def _open_for_onnx(options: Namespace) -> OnnxSource:
    """Open the bundle; a run whose network is a class outside firstlight has none and is taken as it is."""
    from firstlight.export.onnx.onnx_source import OnnxSource, has_own_network
    from firstlight.runs.run import Run

    named = open_run(None, options.logs_dir).path if options.run is None else options.run
    if named != BUNDLED and (user_path(named) / "recipe.yaml").is_file() and has_own_network(Run(named)):
        if options.calibrate_on is not None:
            raise UsageError("--calibrate_on does nothing for --to onnx and a network of your own")
        return OnnxSource.of_run(Run(named), options.data_dir)
    return OnnxSource.of_bundle(_open(options))
