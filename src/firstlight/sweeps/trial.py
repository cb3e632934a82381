"""One trial of a sweep: values of the searched fields, and the trainings that measure them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna

from firstlight.errors import NotFiniteError, RunError, UsageError
from firstlight.recipes.config import Recipe
from firstlight.runs.run import Run
from firstlight.sweeps.search_space import Choice, Parameter, SearchSpace
from firstlight.sweeps.storage import BEGUN
from firstlight.training.callbacks.early_end import EarlyEnd
from firstlight.training.fit import fit
from firstlight.training.resume import resume

RUNS = "runs"  # attribute of a trial: its run folders, below the folder of the sweep
REMARK = "remark"  # attribute of a trial that could not be trained: why
PRUNED = "pruned"  # attribute of a trial whose training the pruner has ended
WORKER = "worker"  # attribute of a trial: name of the task on a cluster that trains it


class Objective:
    """Trains the recipe that a trial asks for, and returns its accuracy on the validation images.

    Args:
        space: The search space.
        folder: Folder of the sweep, which holds the runs.
        data_dir: Folder of the data.
        num_seeds: Number of trainings, whose accuracies are averaged. Only the first one can be pruned.
        trainer_options: Arguments of `pytorch_lightning.Trainer`.
        on_begin: Called once the storage knows that the trial has begun.
        worker: Name of the task on a cluster that trains the trial; empty in a process of its own.

    Attributes:
        number: Number of the last trial.
    """

    def __init__(
        self,
        space: SearchSpace,
        folder: Path,
        data_dir: str,
        num_seeds: int,
        trainer_options: Mapping[str, Any],
        on_begin: Callable[[], None] = lambda: None,
        worker: str = "",
    ) -> None:
        self.space, self.folder, self.data_dir = space, folder, data_dir
        self.num_seeds, self.trainer_options, self.on_begin = num_seeds, dict(trainer_options), on_begin
        self.worker = worker
        self.number = -1

    def __call__(self, trial: optuna.Trial) -> float:
        """Train the trial.

        Raises:
            optuna.TrialPruned: The pruner has ended the training, the recipe refuses the values, or the loss is not
                finite.
            UsageError: The recipe itself cannot be trained, for instance with these arguments of the Trainer.
        """
        self.number = trial.number
        values = suggest(self.space, trial)
        trial.set_user_attr(BEGUN, trial.number)
        trial.set_user_attr(WORKER, self.worker)
        self.on_begin()
        recipe = None
        try:
            recipe = self.space.apply(values)
            return statistics.fmean(self._accuracy(trial, recipe, index) for index in range(self.num_seeds))
        except (UsageError, NotFiniteError) as error:
            if isinstance(error, UsageError) and recipe == self.space.recipe:
                raise  # no value of the space is to blame, so that every other trial would fail, too
            trial.set_user_attr(REMARK, str(error).splitlines()[0])
            raise optuna.TrialPruned(str(error)) from error

    def _accuracy(self, trial: optuna.Trial, recipe: Recipe, index: int) -> float:
        """Return the accuracy of one training on the validation images: of a finished, resumed or new run."""
        last = self.trainer_options.get("max_epochs") or recipe.max_epochs

        def is_hopeless(num_epochs: int, val_acc: float) -> bool:
            trial.report(val_acc, num_epochs)
            if not trial.should_prune() or num_epochs == last:
                return False
            trial.set_user_attr(PRUNED, True)  # before the run ends: a finished run does not say why it has ended
            return True

        pruning = EarlyEnd(is_hopeless)
        callbacks = [] if index else [pruning]
        run = self._known_run(trial, index)

        def note(path: Path) -> None:
            names = list(trial.user_attrs.get(RUNS, []))[:index]
            trial.set_user_attr(RUNS, [*names, str(path.relative_to(self.folder))])

        if run is None:
            seeded = replace(recipe, seed=recipe.seed + index)
            run = fit(
                seeded,
                self.data_dir,
                self.folder,
                test=False,
                on_start=note,
                callbacks=callbacks,
                **self.trainer_options,
            )
        elif not run.is_finished:
            run = resume(run, self.data_dir, callbacks=callbacks)
        elif trial.user_attrs.get(PRUNED) and not index:
            raise optuna.TrialPruned  # the process died before it could say so
        if pruning.has_ended:
            raise optuna.TrialPruned
        return float(run.results["val_acc"])

    def _known_run(self, trial: optuna.Trial, index: int) -> Run | None:
        """Return the run that an earlier attempt at this trial has begun."""
        names = trial.user_attrs.get(RUNS, [])
        try:
            return Run(self.folder / names[index]) if index < len(names) else None
        except RunError:
            return None


def suggest(space: SearchSpace, trial: optuna.Trial) -> dict[str, Choice]:
    """Return the values of the searched fields that a trial tries.

    Args:
        space: The search space.
        trial: Trial that chooses.
    """
    values: dict[str, Choice] = {}
    for parameter in space.parameters:
        if parameter.is_active(values):
            values[parameter.name] = _suggest(parameter, trial)
    return values


def _suggest(parameter: Parameter, trial: optuna.Trial) -> Choice:
    name = parameter.name
    if parameter.choices:
        chosen = trial.suggest_categorical(name, parameter.choices)
        assert chosen is not None  # Optuna's types admit None among the choices
        return chosen
    low, high = parameter.extremes
    if parameter.kind is int:
        step = 1 if parameter.step is None else int(parameter.step)
        return trial.suggest_int(name, int(low), int(high), step=step, log=parameter.log)
    return trial.suggest_float(name, float(low), float(high), step=parameter.step, log=parameter.log)
