"""`firstlight download [NAME ...]`: fetch and verify data sets."""

from __future__ import annotations

from collections.abc import Sequence

from firstlight.cli.parser import Parser
from firstlight.data.download.downloader import Downloader
from firstlight.data.download.manifest import MANIFEST
from firstlight.paths import DEFAULT_DATA_DIR

DESCRIPTION = (
    "Fetch data sets ahead and verify what is there; `fit` fetches what it needs by itself. "
    "A download that was stopped goes on where it stopped."
)


def run(arguments: Sequence[str]) -> None:
    """Fetch what is not there, compare all of it with the official files, print where it is."""
    parser = Parser("download", DESCRIPTION)
    parser.add_argument("names", nargs="*", type=str, default=["cifar10"], help=f"of {', '.join(MANIFEST)}")
    parser.add_argument("--data_dir", type=str, default=DEFAULT_DATA_DIR, help="where data sets on disk are kept")
    parser.add_argument(
        "--version", default=None, choices=["binary", "python"], help="only this form, and not whichever can be had"
    )
    options = parser.parse(arguments)
    downloader = Downloader()
    for name in options.names:
        folder = downloader.download(name, options.data_dir, options.version)
        downloader.verify(name, options.data_dir, options.version)
        print(f"{name}: {folder.absolute()}")
