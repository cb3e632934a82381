"""Serves the page: address and port, Gradio's settings, the gate, and the deletion of uploads."""

from __future__ import annotations

import os
import signal
import threading
import warnings
import webbrowser
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from PIL import Image
from starlette.middleware import Middleware

from firstlight.app.connection_limits import ConnectionLimits, limited
from firstlight.app.gate import Gate
from firstlight.app.host_check import HostCheck, allowed_hosts
from firstlight.app.listening_address import listening_address
from firstlight.app.partial_uploads import known_parsers
from firstlight.app.service import Service
from firstlight.app.sweeper import AFTER_S, EVERY_S, swept
from firstlight.app.unread_results import UnreadResults
from firstlight.app.upload_budget import Budget
from firstlight.app.upload_decoding import MAX_PIXELS
from firstlight.app.upload_folder import upload_folder
from firstlight.app.upload_limits import DECODER, MAX_BYTES
from firstlight.errors import UsageError
from firstlight.export.bundle import Bundle

STYLE = Path(__file__).parent / "style.css"
MULTIPART_BYTES = 4_096  # largest size of an upload request apart from the file itself
MAX_KEPT_BYTES = 1_000_000_000  # of uploads that are not deleted yet
MAX_SESSIONS = 200
MAX_THREADS = 8
# Environment variables that Gradio reads when it is imported or launched.
GRADIO_SETTINGS = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GRADIO_ALLOWED_PATHS": "",
    "GRADIO_SHARE": "False",
    "GRADIO_MCP_SERVER": "False",
    # By default Gradio keeps statistics of all events and computes them again after every event.
    "GRADIO_ANALYTICS_MAX_EVENTS": "100",
    "GRADIO_ANALYTICS_CACHE_FREQUENCY": "1000000",
}


@contextmanager
def served(
    bundle: Bundle, host: str | None = None, port: int | None = None, more_hosts: Collection[str] = ()
) -> Iterator[str]:
    """Serve the page of a bundle within the block, and yield its address.

    Uploads are written to a temporary folder. Old uploads are deleted every few seconds, and the folder at the end.

    Args:
        bundle: Model to show.
        host: Address to listen on; by default `GRADIO_SERVER_NAME`, or this machine only.
        port: Port to listen on; by default `GRADIO_SERVER_PORT`, or the first free port from 7860.
        more_hosts: Names, besides those of this machine, under which the page may be requested; see `allowed_hosts`.

    Raises:
        UsageError: The host is not an address of this machine, or the port is in use.
    """
    host, port = listening_address(host, port)
    with upload_folder() as folder:
        os.environ.update(GRADIO_SETTINGS | {"GRADIO_TEMP_DIR": str(folder)})
        warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # the decoder rejects such files
        from firstlight.app.page import build_page

        DECODER.start()
        page = build_page(Service(bundle))

        def forget() -> None:
            for names in page.temp_file_sets:
                names.clear()

        pillow_limit = Image.MAX_IMAGE_PIXELS
        with swept(folder, forget), known_parsers():
            try:
                Image.MAX_IMAGE_PIXELS = MAX_PIXELS  # in case a picture is decoded outside of read_upload
                yield _launch(page, host, port, more_hosts)
            finally:
                Image.MAX_IMAGE_PIXELS = pillow_limit
                page.close(verbose=False)


def _launch(page: Any, host: str, port: int, more_hosts: Collection[str]) -> str:
    from firstlight.app.theme import make_theme

    try:
        _, address, _ = page.launch(
            server_name=host,
            server_port=port,
            prevent_thread_lock=True,
            quiet=True,
            share=False,
            inline=False,
            show_error=False,
            run_history=False,
            enable_monitoring=False,
            ssr_mode=False,
            pwa=False,
            footer_links=["api"],
            max_file_size=MAX_BYTES,
            max_threads=MAX_THREADS,
            state_session_capacity=MAX_SESSIONS,
            app_kwargs={"middleware": [Middleware(HostCheck, allowed=allowed_hosts(host, more_hosts)), _gate(page)]},
            theme=make_theme(),
            css=STYLE.read_text(encoding="utf-8"),
        )
        config = page.server.config  # read again for each connection
        config.http_protocol_class = limited(config.http_protocol_class, ConnectionLimits())
        return str(address)
    except OSError as error:
        if "port" not in str(error):
            raise
        raise UsageError(f"port {port} is in use: choose another with --port") from error


def _gate(page: Any) -> Middleware:
    budget = Budget(MAX_KEPT_BYTES, EVERY_S + AFTER_S)
    unread = UnreadResults(page._queue)
    return Middleware(Gate, max_upload_bytes=MAX_BYTES + MULTIPART_BYTES, budget=budget, on_post=unread.drop)


def serve(
    bundle: Bundle,
    host: str | None = None,
    port: int | None = None,
    more_hosts: Collection[str] = (),
    *,
    open_browser: bool = False,
) -> None:
    """Serve the page of a bundle until the process receives Ctrl-C or SIGTERM."""
    signal.signal(signal.SIGTERM, _stop)
    with served(bundle, host, port, more_hosts) as address:
        print(f"firstlight app: {address} (Ctrl-C stops it)", flush=True)
        if open_browser:
            webbrowser.open(address)
        threading.Event().wait()


def _stop(*_: object) -> NoReturn:
    raise KeyboardInterrupt
