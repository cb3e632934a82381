"""The trials of a sweep one after the other in this process."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from pathlib import Path

import optuna
from optuna.trial import TrialState

from firstlight.errors import StoppedError
from firstlight.file_lock import locked
from firstlight.sweeps.search_space import SearchSpace
from firstlight.sweeps.storage import FINISHED, finished_trials, make_sampler, requeue_dead_trials, retry
from firstlight.sweeps.sweep_config import SweepConfig
from firstlight.sweeps.trial import Objective

SECONDS_BETWEEN_LOOKS = 2.0  # at the trials of other processes


def run_trials(study: optuna.Study, folder: Path, config: SweepConfig, deadline_s: float) -> None:
    """Train the missing trials one after the other.

    Args:
        study: The trials.
        folder: Folder of the sweep.
        config: The sweep.
        deadline_s: Time on the clock of `time.monotonic` after which no trial begins.

    Raises:
        StoppedError, FirstlightError: See `run_trial`.
    """
    space, is_waiting = config.search_space, False
    while time.monotonic() < deadline_s:
        requeue_dead_trials(study)
        if len(finished_trials(study)) >= config.num_trials:
            return
        if run_trial(study, space, folder, config):
            is_waiting = False
            continue
        if not is_waiting:
            logging.getLogger("firstlight").info("waiting for the last trials of other processes")
        is_waiting = True
        time.sleep(SECONDS_BETWEEN_LOOKS)


def run_trial(study: optuna.Study, space: SearchSpace, folder: Path, config: SweepConfig, worker: str = "") -> bool:
    """Run one trial; return False if the trials that have begun are enough.

    Args:
        study: The trials.
        space: The search space.
        folder: Folder of the sweep.
        config: The sweep.
        worker: Name of the task on a cluster that calls this.

    Raises:
        StoppedError: The process received SIGINT or SIGTERM; the trial is queued again.
        FirstlightError: Training cannot continue; the trial is queued again.
    """
    with ExitStack() as choosing:
        # One process at a time counts the trials and begins one, so that there are never too many.
        choosing.enter_context(locked(folder / "choosing.lock"))
        trials = study.get_trials(deepcopy=False)
        if not trials:
            _enqueue_recipe(study, space)
        if sum(trial.state in (*FINISHED, TrialState.RUNNING) for trial in trials) >= config.num_trials:
            return False
        study.sampler = make_sampler(config.sampler, space.recipe.seed + len(trials))  # never the same choices twice
        objective = Objective(
            space, folder, config.data_dir, config.seeds_per_trial, config.trainer or {}, choosing.close, worker
        )
        try:
            study.optimize(objective, n_trials=1)
        except Exception as error:
            retry(study, study.get_trials(deepcopy=False)[objective.number])  # a later process trains it again
            if not isinstance(error, StoppedError):
                raise
            raise StoppedError(stopped_message(folder), error.exit_status) from error
    return True


def _enqueue_recipe(study: optuna.Study, space: SearchSpace) -> None:
    """Make the recipe itself the first trial."""
    if outside := space.outside():
        flat = space.recipe.flat()
        values = ", ".join(f"{name} {flat[name]}" for name in outside)
        logging.getLogger("firstlight").info(
            f"the space does not hold the recipe itself ({values}): the first trial has the nearest values instead"
        )
    study.enqueue_trial(space.default_values())


def stopped_message(folder: Path) -> str:
    """Return what is printed after a signal: how to continue."""
    return f"the sweep was stopped; continue with: firstlight sweep --resume {folder}"
