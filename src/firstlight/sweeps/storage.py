"""Optuna's part of a sweep: the storage that processes share, the samplers and the pruners."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, RDBStorage, RetryHeartbeatStaleTrialCallback, fail_stale_trials, get_storage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from firstlight.errors import UsageError

SamplerName = Literal["tpe", "gp", "random"]
PrunerName = Literal["median", "asha", "hyperband", "none"]
HEARTBEAT_S = 10  # seconds between the signs of life of a running trial
GRACE_S = 60  # seconds without one, after which a trial is dead and is trained again
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
# Attribute of a trial that has begun: its number. A trial that is queued again keeps the number of the earlier attempt.
BEGUN = "begun"
NUM_STARTUP = 8  # trials at random before a sampler models the space, and before a pruner stops a training

with warnings.catch_warnings():  # Optuna calls it experimental
    warnings.simplefilter("ignore", ExperimentalWarning)
    retry = RetryHeartbeatStaleTrialCallback()


def open_study(name: str, url: str, pruner: BasePruner) -> optuna.Study:
    """Open the study of a sweep, or create it.

    Args:
        name: Name of the study in the storage.
        url: Address of the database, for instance "sqlite:///sweep.db" or that of a PostgreSQL server.
        pruner: Ends hopeless trials.

    Raises:
        UsageError: The database cannot be opened.
    """
    try:
        return study_in(open_storage(url), name, pruner)
    except (SQLAlchemyError, ImportError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise UsageError(f"--storage {url}: cannot be opened ({first})") from error


def open_storage(url: str) -> BaseStorage:
    """Open a database, in which running trials leave signs of life.

    Args:
        url: See `open_study`.
    """
    warnings.filterwarnings("ignore", category=ExperimentalWarning)  # of the signs of life
    database = RDBStorage(
        url, heartbeat_interval=HEARTBEAT_S, grace_period=GRACE_S, heartbeat_stale_trial_callback=retry
    )
    return get_storage(database)


def study_in(storage: BaseStorage, name: str, pruner: BasePruner) -> optuna.Study:
    """Return the study of a sweep in an open storage; a new one if there is none.

    Args:
        storage: The storage.
        name: Name of the study.
        pruner: Ends hopeless trials.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # its warnings print tracebacks of our own errors
    return optuna.create_study(
        storage=storage, study_name=name, pruner=pruner, direction="maximize", load_if_exists=True
    )


def make_sampler(name: SamplerName, seed: int) -> BaseSampler:
    """Return a sampler.

    Args:
        name: "tpe" (Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization"), "gp" (Gaussian process) or
            "random".
        seed: Seed of its random choices.
    """
    made: dict[str, Callable[[], BaseSampler]] = {
        "tpe": lambda: TPESampler(seed=seed, multivariate=True, group=True, n_startup_trials=NUM_STARTUP),
        "gp": lambda: GPSampler(seed=seed, n_startup_trials=NUM_STARTUP, deterministic_objective=False),
        "random": lambda: RandomSampler(seed=seed),
    }
    return made[name]()


def make_pruner(name: PrunerName, num_epochs: int) -> BasePruner:
    """Return a pruner.

    Args:
        name: "median" ends a trial whose accuracy is below the median of the others after as many epochs. "asha" (Li
            et al. 2020, "A System for Massively Parallel Hyperparameter Tuning") lets the best third go on after 1, 3,
            9, ... epochs. "hyperband" (Li et al. 2018) runs several such successive halvings, which begin after
            different numbers of epochs. "none" ends no trial.
        num_epochs: Epochs of a training.
    """
    if name == "median":
        return MedianPruner(n_startup_trials=NUM_STARTUP // 2, n_warmup_steps=1)
    if name == "asha":
        return SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)
    if name == "hyperband":
        return HyperbandPruner(min_resource=1, max_resource=num_epochs)
    return NopPruner()


def finished_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that ended by themselves, complete or pruned; a trial that was trained again counts once."""
    return study.get_trials(deepcopy=False, states=FINISHED)


def requeue_dead_trials(study: optuna.Study) -> None:
    """Queue the trials again whose process has died: without a sign of life, or never with one."""
    fail_stale_trials(study)
    too_old = datetime.now() - timedelta(seconds=GRACE_S)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        started = trial.datetime_start
        has_begun = trial.user_attrs.get(BEGUN) == trial.number
        if not has_begun and started is not None and started.replace(tzinfo=None) < too_old:
            requeue(study, trial)


def requeue(study: optuna.Study, trial: FrozenTrial) -> None:
    """Queue a running trial again, with the same values and the same runs."""
    study.tell(trial.number, state=TrialState.FAIL)
    retry(study, trial)
