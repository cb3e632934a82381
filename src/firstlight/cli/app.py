"""`firstlight app [RUN]`: the live demo in a browser."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from firstlight.cli.parser import Parser
from firstlight.errors import MissingPackageError, UsageError

DESCRIPTION = (
    "Serve a page that classifies pictures and shows what the model looked at, its mistakes, and the model itself. "
    "Without RUN it is the model that the package brings."
)


def run(arguments: Sequence[str]) -> None:
    """Serve until stopped."""
    parser = Parser("app", DESCRIPTION)
    parser.add_argument("run", type=str, nargs="?", default=None, help="a run folder, or a folder that export made")
    parser.add_argument("--data_dir", type=str, default=None, help="where the run's data set is, if it moved")
    parser.add_argument(
        "--host", type=str, default=None, help="the address to listen on; by default this machine alone"
    )
    parser.add_argument(
        "--port", type=int, default=None, help="the port to listen on; by default the first free one from 7860"
    )
    parser.add_argument("--open", action="store_true", help="open the page in a browser")
    options = parser.parse(arguments)
    if options.port is not None and not 1 <= options.port <= 65535:
        raise UsageError(f"--port must be 1 to 65535, not {options.port}")
    if find_spec("gradio") is None:
        raise MissingPackageError("the app needs Gradio, which is not installed: pip install 'firstlight[app]'")
    from firstlight.app.serving import serve
    from firstlight.cli.quiet import quiet_lightning
    from firstlight.export.bundle import bundled

    quiet_lightning()
    if options.run is None:
        bundle = bundled()
    else:
        from firstlight.export.open_bundle import open_bundle

        bundle = open_bundle(options.run, options.data_dir)
    serve(bundle, options.host, options.port, open_browser=options.open)
