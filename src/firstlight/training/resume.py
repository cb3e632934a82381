"""`firstlight.resume`: continue an interrupted run, with the same bits as if it had never been interrupted."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from firstlight.errors import DataError, RunError, UsageError
from firstlight.files import is_temporary
from firstlight.runs.checkpoints import Checkpoint
from firstlight.runs.environment import describe_environment
from firstlight.runs.lock import LOCK
from firstlight.runs.options import FitOptions, check_steps, fold_of
from firstlight.runs.run import Run
from firstlight.training.build import build
from firstlight.training.callbacks.checkpointing import CheckpointTimes, recipe_json
from firstlight.training.data_module import ImageData
from firstlight.training.loggers.event_files import cut_event_files
from firstlight.training.loggers.factory import check_logger
from firstlight.training.module import Classifier
from firstlight.training.processes import check_nodes, is_first_process, training_lock
from firstlight.training.runner import train_and_test


def resume(
    run: Run | Path | str,
    data_dir: Path | str | None = None,
    *,
    checkpoints: CheckpointTimes = CheckpointTimes(),
    **trainer_options: Any,
) -> Run:
    """Continue a run from its newest checkpoint, or from the beginning if it has none.

    On the same machine, with the same number of threads, the result is bit for bit that of an uninterrupted run.

    Args:
        run: Run or its folder; a finished run is returned unchanged.
        data_dir: Folder of its data set, if it has moved.
        checkpoints: How often to write checkpoints.
        **trainer_options: Those arguments of `pytorch_lightning.Trainer` that are objects, such as callbacks; numbers
            and text are kept with the run.

    Raises:
        RunError: There is no run, its files contradict each other, or another process is training it.
        DataError: The data set is missing, or is not the one that the run started with.
        UsageError: The run was trained on several machines, of which only this one is known.
        StoppedError, TrainingError: See `fit`.
    """
    started_s = time.perf_counter()
    run = run if isinstance(run, Run) else Run(run)
    if run.is_finished:
        return run
    options = FitOptions.load(run.path)
    known, new = set(options.trainer), set(trainer_options)
    if known & new:
        raise UsageError(f"{', '.join(sorted(known & new))}: a run is resumed with the options that it started with")
    check_nodes(int(options.trainer.get("num_nodes") or 1))
    _warn_of_missing(options, trainer_options)
    check_logger(options.logger)
    check_steps(options.steps)
    with training_lock(run.path):
        checkpoint = run.checkpoints.newest()
        place, fold = data_dir or run.data["place"], fold_of(run.path)
        has_checkpoint = checkpoint is not None
        module, data = build(run.recipe, place, options.steps, fold, run.decisions, has_checkpoint=has_checkpoint)
        _refuse_other_data(run, data)
        _refuse_other_start(run, module)
        _refuse_other_recipe(run, checkpoint)
        if is_first_process():
            _restore_folder(run, checkpoint)
            _log_resumption(run, checkpoint)
        given = options.trainer | trainer_options
        return train_and_test(run.path, module, data, options, given, checkpoints, checkpoint, started_s)


def _refuse_other_data(run: Run, data: ImageData) -> None:
    before, now = run.data.get("digests", {}), data.describe()["digests"]
    for split in ("train", "val"):
        if before.get(split) != now[split]:
            raise DataError(
                f"{data.data_dir}: the {split} images are not those that {run.path} started with. Name their folder "
                "with --data_dir, or start a new run."
            )


def _refuse_other_start(run: Run, module: Classifier) -> None:
    """Refuse to begin again from other weights than those that the run began from."""
    before, now = run.environment.get("init"), module.start_weights
    if before is not None and now is not None and before["sha256"] != now.sha256:
        raise RunError(
            f"{now.model}: its weights are not those that {run.path} started from: restore them, or start a new run"
        )


def _refuse_other_recipe(run: Run, checkpoint: Checkpoint | None) -> None:
    if checkpoint is not None and checkpoint.content["firstlight"].get("recipe") != recipe_json(run.recipe):
        raise RunError(f"{run.path}/recipe.yaml was changed after {checkpoint.path.name} was written; undo the change")


def _restore_folder(run: Run, checkpoint: Checkpoint | None) -> None:
    """Remove half-written files, and the TensorBoard events that were written after the checkpoint."""
    for path in [*run.path.glob(".*"), *run.checkpoints.path.glob(".*")]:
        if path.name != LOCK and is_temporary(path):
            path.unlink()
    run.checkpoints.rename_damaged()
    cut_event_files(run.path, checkpoint.content["firstlight"]["event_sizes"] if checkpoint else {})


def _log_resumption(run: Run, checkpoint: Checkpoint | None) -> None:
    where = f"after epoch {checkpoint.epoch} and step {checkpoint.step}" if checkpoint else "from the beginning"
    logging.getLogger("firstlight").info(f"{run.path}: resuming {where}")
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
    missing = sorted(set(options.unsaved) - set(given))
    if missing:
        logging.getLogger("firstlight").warning(
            f"warning: the run started with {', '.join(missing)}, which a run folder cannot hold: pass them to resume()"
        )
