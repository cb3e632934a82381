"""`--engine ray`: the trials of a sweep as tasks on a Ray cluster."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from firstlight.errors import FirstlightError
from firstlight.ray_cluster import MAX_DEATHS, RayCluster, first_line, result_of, stop_signals, submit
from firstlight.sweeps.local_trials import run_trial, stopped_message
from firstlight.sweeps.remote_storage import RemoteStorage, serve_storage
from firstlight.sweeps.storage import (
    FINISHED,
    finished_trials,
    make_pruner,
    requeue,
    requeue_dead_trials,
    retry,
    study_in,
)
from firstlight.sweeps.sweep_config import SweepConfig
from firstlight.sweeps.trial import REMARK, WORKER

SECONDS_BETWEEN_LOOKS = 2.0  # at the storage, while tasks run
log = logging.getLogger("firstlight")
CANCEL_S = 20  # seconds for the tasks of a sweep that was stopped to end


def run_on_cluster(
    study: optuna.Study, url: str, folder: Path, config: SweepConfig, cluster: RayCluster, deadline_s: float
) -> None:
    """Train the missing trials, as many at a time as the machines of the cluster have resources for.

    A trial whose worker dies is queued again at once; another worker resumes its run from its checkpoint.

    Args:
        study: The trials.
        url: Address of their database, which only this machine opens.
        folder: Absolute path of the sweep's folder, which all machines see.
        config: The sweep.
        cluster: The connected cluster.
        deadline_s: Time on the clock of `time.monotonic` after which no trial begins.

    Raises:
        StoppedError: The process received SIGINT or SIGTERM; the trials that were being trained are queued again.
        FirstlightError: Training cannot continue.
    """
    tasks = _Tasks(study, serve_storage(url), folder, config, cluster)
    with stop_signals(stopped_message(folder)):
        try:
            while True:
                requeue_dead_trials(study)
                num_missing = config.num_trials - len(finished_trials(study))
                is_late = time.monotonic() >= deadline_s
                if is_late:
                    tasks.cancel_waiting()
                elif num_missing > 0:
                    tasks.submit_up_to(min(num_missing, cluster.num_slots()))
                if not tasks.running and (is_late or num_missing <= 0):
                    return
                tasks.wait()
        finally:
            tasks.cancel()


def train_trial(folder: Path, config: SweepConfig, study_name: str, server: Any) -> bool:
    """Run one trial in a worker of the cluster; return False if the trials that have begun are enough.

    Args:
        folder: Folder of the sweep.
        config: The sweep.
        study_name: Name of the study.
        server: Actor that holds the storage.

    Raises:
        FirstlightError: See `firstlight.sweeps.local_trials.run_trial`.
    """
    import ray

    worker = ray.get_runtime_context().get_task_id() or ""
    if not ray.get(server.admit.remote(worker)):
        return False
    pruner = make_pruner(config.pruner, int(config.recipe["max_epochs"]))
    study = study_in(RemoteStorage(server), study_name, pruner)
    return run_trial(study, config.search_space, folder, config, worker)


class _Tasks:
    """The tasks of one sweep on a cluster.

    Args:
        study: The trials.
        server: Actor that holds their storage.
        folder: Folder of the sweep.
        config: The sweep.
        cluster: The connected cluster.

    Attributes:
        running: Ray's references to the tasks without a result.
    """

    def __init__(
        self, study: optuna.Study, server: Any, folder: Path, config: SweepConfig, cluster: RayCluster
    ) -> None:
        self.running: list[Any] = []
        self._study, self._server, self._cluster, self._num_trials = study, server, cluster, config.num_trials
        self._num_idle_deaths = 0  # of workers without a trial, since the last task that has ended well
        self._arguments = (folder, config, study.study_name, server)

    def submit_up_to(self, count: int) -> None:
        """Submit tasks until so many are running."""
        while len(self.running) < count:
            self.running.append(submit(self._cluster, f"{__name__}:train_trial", *self._arguments))

    def wait(self) -> None:
        """Wait until a task ends, or a little while.

        Raises:
            FirstlightError: A task has raised it, or the workers die before they begin a trial.
        """
        import ray

        ended = ray.wait(self.running, timeout=SECONDS_BETWEEN_LOOKS)[0] if self.running else []
        for task in ended:
            self.running.remove(task)
        has_trained = [self._has_trained(task) for task in ended]  # of all: each may queue a trial again
        if not any(has_trained):
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def cancel_waiting(self) -> None:
        """Cancel the tasks that wait for a machine; from now on no trial begins."""
        import ray

        admitted = ray.get(self._server.close.remote())
        for task in self.running:
            if task.task_id().hex() not in admitted:
                ray.cancel(task, force=True)

    def cancel(self) -> None:
        """Cancel all tasks, and queue their trials again."""
        import ray

        if not self.running:
            return
        for task in self.running:
            ray.cancel(task, force=True)
        ray.wait(self.running, num_returns=len(self.running), timeout=CANCEL_S)
        for task in self.running:
            for trial in self._trials_of(task):
                requeue(self._study, trial)

    def _has_trained(self, task: Any) -> bool:
        """Return whether a task that has ended has trained a trial; queue its trial again if its worker has died."""
        import ray

        try:
            has_trained = bool(result_of(task))
        except ray.exceptions.TaskCancelledError:
            return False
        except ray.exceptions.RayTaskError:  # a bug, with its traceback
            raise
        except ray.exceptions.RayError as error:
            self._queue_again(task, first_line(error))
            return False
        self._num_idle_deaths = 0
        for trial in self._trials_of(task, FINISHED):
            result = "no accuracy" if trial.value is None else f"val accuracy {trial.value:.2%}"
            ended = " (ended early)" if trial.state == TrialState.PRUNED else ""
            count = len(finished_trials(self._study))
            log.info(f"trial {trial.number}: {result}{ended}, {count} of {self._num_trials} trials are finished")
        return has_trained

    def _queue_again(self, task: Any, reason: str) -> None:
        trials = self._trials_of(task)
        self._num_idle_deaths = 0 if trials else self._num_idle_deaths + 1
        if self._num_idle_deaths > MAX_DEATHS:
            raise FirstlightError(f"the workers of the cluster die before they begin a trial: {reason}")
        for trial in trials:
            if len(retry.retry_history(trial)) < MAX_DEATHS:
                log.info(f"trial {trial.number}: its worker has died; another one resumes it")
                requeue(self._study, trial)
            else:
                remark = f"its worker has died {MAX_DEATHS + 1} times: {reason}"
                log.warning(f"trial {trial.number}: {remark}")
                optuna.Trial(self._study, trial._trial_id).set_user_attr(REMARK, remark)
                self._study.tell(trial.number, state=TrialState.PRUNED)

    def _trials_of(self, task: Any, states: tuple[TrialState, ...] = (TrialState.RUNNING,)) -> list[FrozenTrial]:
        """Return the trial that a task has begun, if there is one in these states."""
        trials = self._study.get_trials(deepcopy=False, states=states)
        return [trial for trial in trials if trial.user_attrs.get(WORKER) == task.task_id().hex()]
