"""`firstlight app [RUN]`: the live demo in a browser."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from firstlight.cli.parser import Parser
from firstlight.cli.which_run import MOVED_DATA_DIR_HELP, add_run_argument, describe, report_choice
from firstlight.errors import MissingPackageError, RunError, UsageError
from firstlight.extras import install_command

if TYPE_CHECKING:
    from firstlight.export.bundle import Bundle

BUNDLED = "bundled"  # may be given instead of a run folder
APP_RUN_HELP = (
    f"a run folder, a folder that `firstlight export` wrote, or {BUNDLED} for the model that comes with firstlight"
)
DESCRIPTION = (
    "Serve a page that classifies pictures and shows the evidence, the mistakes of the model, and its measurements. "
    "Without RUN, the page shows the newest run in --logs_dir, or the bundled model if there is no run."
)


def run(arguments: Sequence[str]) -> None:
    """Serve until stopped."""
    parser = Parser("app", DESCRIPTION)
    add_run_argument(parser, description=APP_RUN_HELP)
    parser.add_argument("--data_dir", type=str, default=None, help=MOVED_DATA_DIR_HELP)
    parser.add_argument(
        "--host", type=str, default=None, help="the address to listen on; by default this machine alone"
    )
    parser.add_argument(
        "--port", type=int, default=None, help="the port to listen on; by default the first free port from 7860"
    )
    parser.add_argument(
        "--allow_host",
        type=str,
        nargs="+",
        default=[],
        metavar="NAME",
        help="more host names under which the page may be requested, for instance that of a proxy",
    )
    parser.add_argument("--open", action="store_true", help="open the page in a browser")
    options = parser.parse(arguments)
    if options.port is not None and not 1 <= options.port <= 65535:
        raise UsageError(f"--port must be 1 to 65535, not {options.port}")
    if find_spec("gradio") is None:
        raise MissingPackageError(f"the app needs Gradio, which is not installed: {install_command('app')}")
    from firstlight.app.serving import serve
    from firstlight.cli.quiet import quiet_lightning

    quiet_lightning()
    bundle = _choose(options.run, options.data_dir, options.logs_dir)
    serve(bundle, options.host, options.port, options.allow_host, open_browser=options.open)


def _choose(named: str | None, data_dir: str | None, logs_dir: str) -> Bundle:
    """Open what the user names, or else the newest run, or else the bundled model."""
    from firstlight.export.bundle import bundled
    from firstlight.export.open_bundle import open_bundle
    from firstlight.runs.run import latest_run

    if named == BUNDLED:
        return bundled()
    if named is not None:
        return open_bundle(named, data_dir)
    try:
        newest = latest_run(logs_dir)
    except RunError:
        bundle = bundled()
        report_choice(f"the bundled model, as there is no run in {logs_dir}/")
        return bundle
    report_choice(f"the newest run, {describe(newest)}; `firstlight app {BUNDLED}` opens the bundled model")
    return open_bundle(newest.path, data_dir)
