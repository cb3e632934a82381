"""Open the bundle of a folder that the user names: the folder itself is a bundle, or it is a run."""

from __future__ import annotations

import logging
from pathlib import Path

from firstlight.errors import RunError
from firstlight.export.build_bundle import build_bundle, sha256
from firstlight.export.bundle import MEASURED_NAME, Bundle
from firstlight.paths import user_path
from firstlight.runs.run import Run
from firstlight.whole_folder import whole_folder

FOLDER_NAME = "bundle"


def open_bundle(path: Path | str, data_dir: Path | str | None = None, calibrate_on: Path | str | None = None) -> Bundle:
    """Open a bundle, or build the bundle of a run and keep it in the folder of the run.

    A kept bundle is built again if the weights of the run have changed.

    Args:
        path: Folder that `fit` or `export` wrote.
        data_dir: Path of the run's data set if it was moved.
        calibrate_on: Run to calibrate on; see `firstlight.export.build_bundle.build_bundle`.

    Raises:
        RunError: The folder is neither a run nor a bundle.
        DataError: The data set of the run is missing.
    """
    path = user_path(path)
    if (path / MEASURED_NAME).is_file():
        return Bundle(path)
    if not (path / "recipe.yaml").is_file():
        raise RunError(f"{path} is neither a run nor a bundle: name a folder that `firstlight fit` or `export` wrote")
    run = Run(path)
    kept = run.path / FOLDER_NAME
    if _was_built_from(run, kept) and calibrate_on is None:
        return Bundle(kept)
    logging.getLogger("firstlight").info(f"measuring {run.path} once; the bundle is kept in {kept}")
    with whole_folder(kept, overwrite=True) as folder:
        build_bundle(run, folder, data_dir, None if calibrate_on is None else Run(calibrate_on))
    return Bundle(kept)


def _was_built_from(run: Run, folder: Path) -> bool:
    try:
        return bool(Bundle(folder).measured["run_weights_sha256"] == sha256(run.weights_path))
    except (RunError, KeyError, OSError):
        return False
