"""`firstlight download [NAME ...]`: download and verify data sets."""

from __future__ import annotations

from collections.abc import Sequence

from firstlight.cli.parser import Parser
from firstlight.data.download.downloader import Downloader
from firstlight.data.download.manifest import MANIFEST
from firstlight.paths import DEFAULT_DATA_DIR

DESCRIPTION = (
    "Download data sets in advance and verify existing ones; `fit` downloads what it needs by itself. "
    "An interrupted download resumes."
)


def run(arguments: Sequence[str]) -> None:
    """Download missing data sets, compare all with the official files, and print their folders."""
    parser = Parser("download", DESCRIPTION)
    parser.add_argument("names", nargs="*", type=str, default=["cifar10"], help=f"data sets: {', '.join(MANIFEST)}")
    parser.add_argument("--data_dir", type=str, default=DEFAULT_DATA_DIR, help="folder to download to")
    parser.add_argument(
        "--version",
        default=None,
        choices=["binary", "python", "parquet"],
        help="format of the files (by default the first that can be downloaded); parquet rebuilds the binary format",
    )
    options = parser.parse(arguments)
    downloader = Downloader()
    for name in options.names:
        folder = downloader.download(name, options.data_dir, options.version)
        downloader.verify(name, options.data_dir, options.version)
        print(f"{name}: {folder.absolute()}")
