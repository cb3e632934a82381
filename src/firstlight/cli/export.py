"""`firstlight export [RUN] --to KIND DIR`: something to share."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from firstlight.cli.parser import Parser
from firstlight.cli.which_run import RUN_HELP, open_run
from firstlight.errors import UsageError
from firstlight.paths import user_path

if TYPE_CHECKING:
    from jsonargparse import Namespace

    from firstlight.export.bundle import Bundle

KINDS = ("hub", "space", "bundle")
BUNDLED = "bundled"
DESCRIPTION = (
    "Write a folder to share: for a model hub (weights, configuration, card), for a Hugging Face Space (the live demo, "
    "ready to push), or a bundle (what the app shows; without DIR it becomes the model that the package brings)."
)


def run(arguments: Sequence[str]) -> None:
    """Measure the run if that was not done yet, write the folder, print its path."""
    options = build_parser().parse(arguments)
    kind, folder_name = _split(options.to)
    from firstlight.cli.quiet import quiet_lightning
    from firstlight.export.bundle import BUNDLED_PATH
    from firstlight.export.whole_folder import whole_folder

    quiet_lightning()
    target = BUNDLED_PATH if folder_name is None else user_path(folder_name)
    with whole_folder(target, options.overwrite or folder_name is None) as folder:
        _write(kind, _open(options), folder)
    print(target)


def build_parser() -> Parser:
    """Return the verb's parser."""
    parser = Parser("export", DESCRIPTION, usage="firstlight export [RUN] --to KIND DIR [OPTION ...]")
    parser.add_argument(
        "run",
        type=str,
        nargs="?",
        default=None,
        help=f"{RUN_HELP}, a bundle, or the word {BUNDLED}: the model that comes with firstlight",
    )
    parser.add_argument(
        "--to", type=str, nargs="+", required=True, help=f"what to write ({', '.join(KINDS)}), and the folder for it"
    )
    parser.add_argument("--data_dir", type=str, default=None, help="where the run's data set is, if it moved")
    parser.add_argument(
        "--calibrate_on",
        type=str,
        default=None,
        help="a run of the same recipe that kept validation images, if this one was trained on all of them",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what an earlier export wrote into the folder")
    return parser


def _open(options: Namespace) -> Bundle:
    from firstlight.export.bundle import bundled
    from firstlight.export.open_bundle import open_bundle

    if options.run == BUNDLED:
        return bundled()
    named = options.run if options.run is not None else open_run(None).path
    return open_bundle(named, options.data_dir, options.calibrate_on)


def _split(to: Sequence[str]) -> tuple[str, str | None]:
    """Read `--to KIND DIR`; only a bundle has a place of its own."""
    kind, *rest = to
    if kind not in KINDS:
        raise UsageError(f"--to {kind}: choose one of {', '.join(KINDS)}, and name a folder")
    if len(rest) > 1 or (not rest and kind != "bundle"):
        raise UsageError(f"--to {kind} needs one folder: firstlight export RUN --to {kind} DIR")
    return kind, rest[0] if rest else None


def _write(kind: str, bundle: Bundle, folder: Path) -> None:
    if kind == "hub":
        from firstlight.export.hub import write_hub

        write_hub(bundle, folder)
    elif kind == "space":
        from firstlight.export.space import write_space

        write_space(bundle, folder)
    else:
        shutil.copytree(bundle.path, folder, dirs_exist_ok=True)
