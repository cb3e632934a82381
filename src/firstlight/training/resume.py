"""resume: a run that was interrupted goes on in its own folder, and ends with the bits of one that never was."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from firstlight.errors import DataError, RunError, UsageError
from firstlight.runs.checkpoints import Checkpoint
from firstlight.runs.environment import describe_environment
from firstlight.runs.lock import LOCK
from firstlight.runs.options import FitOptions, check_steps
from firstlight.runs.run import Run
from firstlight.training.build import build
from firstlight.training.callbacks.checkpointing import CheckpointTimes, as_text
from firstlight.training.data_module import ImageData
from firstlight.training.loggers.event_files import cut_event_files
from firstlight.training.loggers.factory import check_logger
from firstlight.training.processes import is_first_process, only_training
from firstlight.training.runner import train_and_test


def resume(
    run: Run | Path | str,
    data_dir: Path | str | None = None,
    *,
    checkpoints: CheckpointTimes = CheckpointTimes(),
    **trainer_options: Any,
) -> Run:
    """Go on with a run from its newest checkpoint, or from the beginning if it has none.

    On the same machine, at the same number of threads, it ends with the same bits as a run that was never stopped.

    Args:
        run: its folder; one that is finished is returned as it is.
        data_dir: where its data set is, if it moved.
        checkpoints: how often they are written.
        **trainer_options: those arguments of `pytorch_lightning.Trainer` that are objects, such as callbacks; the
            others are kept with the run.

    Raises:
        RunError: there is no run, its files do not fit together, or another process is at work on it.
        DataError: the data set is missing, or not the one that the run was begun with.
        StoppedError, TrainingError: see `fit`.
    """
    started_s = time.perf_counter()
    run = run if isinstance(run, Run) else Run(run)
    if run.is_finished:
        return run
    options = FitOptions.load(run.path)
    known, new = set(options.trainer), set(trainer_options)
    if known & new:
        raise UsageError(f"{', '.join(sorted(known & new))}: a run is resumed with the options that it was begun with")
    _warn_of_missing(options, trainer_options)
    check_logger(options.logger)
    check_steps(options.steps)
    with only_training(run.path):
        place = data_dir or run.data["place"]
        module, data = build(run.recipe, place, options.steps)
        _refuse_other_data(run, data)
        checkpoint = run.checkpoints.newest()
        _refuse_other_recipe(run, checkpoint)
        if is_first_process():
            _tidy(run, checkpoint)
            _note_resumption(run, checkpoint)
        given = options.trainer | trainer_options
        return train_and_test(run.path, module, data, options, given, checkpoints, checkpoint, started_s)


def _refuse_other_data(run: Run, data: ImageData) -> None:
    before, now = run.data.get("digests", {}), data.describe()["digests"]
    for split in ("train", "val"):
        if before.get(split) != now[split]:
            raise DataError(
                f"{data.data_dir}: the {split} images are not those that {run.path} was begun with. Name their place "
                "with --data_dir, or begin a new run."
            )


def _refuse_other_recipe(run: Run, checkpoint: Checkpoint | None) -> None:
    if checkpoint is not None and checkpoint.content["firstlight"].get("recipe") != as_text(run.recipe):
        raise RunError(f"{run.path}/recipe.yaml: was changed after {checkpoint.path.name} was written; undo the change")


def _tidy(run: Run, checkpoint: Checkpoint | None) -> None:
    """Put the folder into the state that it had at the checkpoint: no half-written files, no events that came later."""
    for path in [*run.path.glob(".*"), *run.checkpoints.path.glob(".*")]:
        if path.name != LOCK and path.is_file():
            path.unlink()
    run.checkpoints.set_damaged_aside()
    cut_event_files(run.path, checkpoint.content["firstlight"]["event_sizes"] if checkpoint else {})


def _note_resumption(run: Run, checkpoint: Checkpoint | None) -> None:
    where = f"after epoch {checkpoint.epoch} and step {checkpoint.step}" if checkpoint else "from the beginning"
    logging.getLogger("firstlight").info(f"{run.path}: going on {where}")
    now, before = describe_environment(), run.environment
    changed = [
        f"{name} was {before.get(part, {}).get(name)} and is {value}"
        for part in ("hardware", "versions")
        for name, value in now[part].items()
        if before.get(part, {}).get(name) != value
    ]
    if changed:
        logging.getLogger("firstlight").warning(f"warning: the last bits may differ: {'; '.join(changed)}")
    resumed = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "step": checkpoint.step if checkpoint else 0}
    run.save_json("environment.json", before | {"resumed": [*before.get("resumed", []), resumed]})


def _warn_of_missing(options: FitOptions, given: dict[str, Any]) -> None:
    missing = sorted(set(options.not_kept) - set(given))
    if missing:
        logging.getLogger("firstlight").warning(
            f"warning: the run was begun with {', '.join(missing)}, which no folder can keep: give them to resume()"
        )
