"""Executes a notebook from top to bottom in a temporary folder, and keeps its outputs.

    python notebooks/build.py [--quick] [--out FILE]

Without --out the outputs are written into notebooks/first_light.ipynb itself. --quick trains a single epoch.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parent / "first_light.ipynb"
SWITCH = "QUICK = False"
TIMEOUT_S = 1800  # for a cell


def execute(notebook: nbformat.NotebookNode, folder: Path, quick: bool = False) -> nbformat.NotebookNode:
    """Run every cell, in order, in a folder; raises at the first error.

    Args:
        notebook: gets the outputs; its code stays as it is.
        folder: where the notebook finds itself, and leaves its files.
        quick: turn the notebook's own switch while it runs.
    """
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    os.environ["TMPDIR"] = str(temporary)  # TensorBoard notes there which servers run: only ours, then
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    switch = notebook.cells[1]
    code = switch.source
    assert SWITCH in code, "the first code cell has lost its switch"
    if quick:
        switch.source = code.replace(SWITCH, "QUICK = True")
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT_S,
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
        coalesce_streams=True,
    )
    try:
        client.execute()
    finally:
        switch.source = code
        stop_tensorboard(temporary)
    return notebook


def stop_tensorboard(temporary: Path) -> None:
    """Stop the servers that a notebook started; they would outlive it."""
    for note in temporary.glob(".tensorboard-info/pid-*.info"):
        try:
            os.kill(json.loads(note.read_text())["pid"], signal.SIGTERM)
        except ProcessLookupError:
            continue


def main() -> None:
    """Execute, and write the outputs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=NOTEBOOK)
    options = parser.parse_args()
    started_s = time.perf_counter()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        notebook = execute(nbformat.read(NOTEBOOK, as_version=4), Path(folder), options.quick)
    nbformat.write(notebook, options.out)
    print(f"{options.out}: executed in {time.perf_counter() - started_s:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
