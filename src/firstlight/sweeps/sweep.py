"""`firstlight.sweep`: search the fields of a recipe for the highest validation accuracy."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypedDict

import optuna
from optuna.trial import TrialState

from firstlight.data.source import open_source
from firstlight.errors import RunError, StoppedError, UsageError
from firstlight.file_lock import locked
from firstlight.files import write_atomic
from firstlight.paths import DEFAULT_DATA_DIR, DEFAULT_LOGS_DIR, user_path
from firstlight.recipes.config import MAX_RECIPE_BYTES, Recipe
from firstlight.recipes.nested import from_dict
from firstlight.runs.options import FitOptions
from firstlight.runs.versions import new_version
from firstlight.sweeps.outcome import Outcome, conclude
from firstlight.sweeps.search_space import SearchSpace, read_space, space_of
from firstlight.sweeps.storage import (
    FINISHED,
    PrunerName,
    SamplerName,
    finished_trials,
    make_pruner,
    make_sampler,
    open_study,
    requeue_dead_trials,
    retry,
)
from firstlight.sweeps.trial import Objective
from firstlight.typed_json import Between, PathText, read_json

FILE_NAME = "sweep.json"
DATABASE = "trials.db"
FOLDER = "sweeps"  # in the folder of all runs
VAL_SHARE = 10  # one training image of so many is held out if the recipe holds out none
SECONDS_BETWEEN_LOOKS = 2.0  # at the trials of other processes


@dataclass(frozen=True)
class SweepConfig:
    """What all processes of a sweep have in common; `sweep.json` keeps it.

    Args:
        recipe: Recipe whose fields are searched.
        space: The search space as plain values; see `firstlight.sweeps.search_space.read_space`.
        num_trials: Number of trials.
        data_dir: Folder of the data.
        sampler: How values are chosen.
        pruner: Which trials end early.
        seeds_per_trial: Trainings of a trial; its value is their mean accuracy.
        num_fresh_seeds: New seeds on which the best three trials are trained again; 0 for none.
        storage: Address of the database; None for the file in the folder of the sweep.
        trainer: Arguments of `pytorch_lightning.Trainer` that are numbers or text.
    """

    recipe: dict[str, Any]
    space: dict[str, Any]
    num_trials: int
    data_dir: str
    sampler: SamplerName = "tpe"
    pruner: PrunerName = "median"
    seeds_per_trial: int = 1
    num_fresh_seeds: int = 3
    storage: str | None = None
    trainer: dict[str, Any] | None = None

    @property
    def search_space(self) -> SearchSpace:
        """The search space with its recipe."""
        return space_of(self.space, from_dict(Recipe, self.recipe), "the space of the sweep")

    def save(self, folder: Path) -> None:
        """Write `sweep.json`."""
        write_atomic(folder / FILE_NAME, json.dumps(asdict(self), indent=2) + "\n")

    @staticmethod
    def load(folder: Path) -> SweepConfig:
        """Read `sweep.json`.

        Raises:
            RunError: The folder holds no sweep, or the file is damaged.
        """
        path = folder / FILE_NAME
        if not path.is_file():
            raise RunError(f"{folder}: holds no sweep ({FILE_NAME} is missing)")
        found = read_json(path, _SweepFile, "start a new sweep", MAX_RECIPE_BYTES)
        config = SweepConfig(**{name: found[name] for name in _SweepFile.__annotations__})
        try:
            config.search_space  # noqa: B018  # raises if the recipe or the space is damaged
        except (ValueError, TypeError, UsageError) as error:
            raise RunError(f"{path}: {error}; start a new sweep") from error
        return config


class _SweepFile(TypedDict):
    """The fields of `sweep.json`."""

    recipe: dict[str, Any]
    space: dict[str, Any]
    num_trials: Annotated[int, Between(1, 10**6)]
    data_dir: PathText
    sampler: SamplerName
    pruner: PrunerName
    seeds_per_trial: Annotated[int, Between(1, 10**3)]
    num_fresh_seeds: Annotated[int, Between(0, 10**3)]
    storage: str | None
    trainer: dict[str, Any] | None


def sweep(
    recipe: Recipe,
    space: Path | str | Mapping[str, Any],
    num_trials: int,
    data_dir: Path | str = DEFAULT_DATA_DIR,
    logs_dir: Path | str = DEFAULT_LOGS_DIR,
    *,
    timeout_s: float | None = None,
    sampler: SamplerName = "tpe",
    pruner: PrunerName | None = None,
    seeds_per_trial: int = 1,
    num_fresh_seeds: int = 3,
    storage: str | None = None,
    **trainer_options: Any,
) -> Outcome:
    """Search fields of a recipe for the highest accuracy on the validation images; the test images are not read.

    The first trial is the recipe itself. Every trial is a run without a test, in the folder of the sweep,
    `logs_dir/sweeps/<recipe>/version_<n>`. At the end the best three trials and the recipe are trained on new seeds,
    because the best of many noisy values is partly luck, and the best of them by these seeds is written to `best.yaml`.

    Args:
        recipe: Recipe whose fields are searched. If it holds out no validation images, a tenth of the training images
            is held out.
        space: The search space: a YAML file, or its content; see `firstlight.sweeps.search_space.read_space`.
        num_trials: Number of trials, complete or pruned.
        data_dir: Folder of the data sets, or one folder of images per class.
        logs_dir: Folder of all runs.
        timeout_s: Seconds after which no new trial begins.
        sampler: "tpe", "gp" or "random".
        pruner: "median", "hyperband" or "none"; by default "median", and "none" if the space has `max_epochs`, because
            a schedule that is longer is behind after as many epochs.
        seeds_per_trial: Trainings of a trial, with consecutive seeds; its value is their mean accuracy.
        num_fresh_seeds: New seeds for the best three trials; 0 leaves this out.
        storage: Address of a database that several machines share; by default a file in the folder of the sweep.
        **trainer_options: Any argument of `pytorch_lightning.Trainer` that is a number or text.

    Raises:
        UsageError: A number is out of range, the space is invalid, or the storage cannot be opened.
        StoppedError: The process received SIGINT or SIGTERM; `resume_sweep` continues.
        FirstlightError: See `firstlight.fit`.
    """
    for name, number, least in (
        ("trials", num_trials, 1),
        ("seeds_per_trial", seeds_per_trial, 1),
        ("fresh_seeds", num_fresh_seeds, 0),
    ):
        if number < least:
            raise UsageError(f"{name} must be {least} or more, not {number}")
    if num_fresh_seeds == 1:
        raise UsageError("fresh_seeds must be 0, or 2 or more: one seed has no deviation")
    if unsaved := FitOptions.of("", False, "plain", trainer_options).unsaved:
        raise UsageError(f"{', '.join(unsaved)}: a sweep takes only arguments that are numbers or text, to be resumed")
    recipe = _with_validation(recipe, data_dir)
    found = read_space(user_path(space), recipe) if isinstance(space, str | Path) else space_of(space, recipe, "space")
    if pruner is None:
        pruner = "none" if any(each.name == "max_epochs" for each in found.parameters) else "median"
    data_folder = user_path(data_dir)
    config = SweepConfig(
        recipe=json.loads(json.dumps(recipe.to_dict())),
        space=dict(found.description),
        num_trials=num_trials,
        data_dir=str(data_folder.absolute() if data_folder.exists() else data_dir),
        sampler=sampler,
        pruner=pruner,
        seeds_per_trial=seeds_per_trial,
        num_fresh_seeds=num_fresh_seeds,
        storage=storage,
        trainer=trainer_options,
    )
    folder = new_version(user_path(logs_dir) / FOLDER / recipe.name)
    config.save(folder)
    return _continue(folder, config, timeout_s)


def resume_sweep(folder: Path | str, num_trials: int | None = None, timeout_s: float | None = None) -> Outcome:
    """Continue a sweep that was interrupted, or join one that other processes work on.

    Args:
        folder: Folder of the sweep.
        num_trials: Number of trials in all; None keeps that of the sweep.
        timeout_s: Seconds after which no new trial begins.

    Raises:
        RunError: The folder holds no sweep.
        UsageError, StoppedError, FirstlightError: See `sweep`.
    """
    folder = user_path(folder)
    config = SweepConfig.load(folder)
    if num_trials is not None and num_trials != config.num_trials:
        config = replace(config, num_trials=num_trials)
        config.save(folder)
    return _continue(folder, config, timeout_s)


def _with_validation(recipe: Recipe, data_dir: Path | str) -> Recipe:
    """Return the recipe with validation images, if neither it nor the data set has any."""
    source = open_source(recipe.data, user_path(data_dir), recipe.image_size)
    recipe = replace(recipe, data=source.name)
    source.fetch()
    if recipe.num_val or source.val() is not None:
        return recipe
    num_val = max(1, len(source.train()) // VAL_SHARE)
    logging.getLogger("firstlight").info(f"the recipe holds out no validation images: the sweep holds out {num_val:,}")
    return replace(recipe, num_val=num_val)


def _continue(folder: Path, config: SweepConfig, timeout_s: float | None) -> Outcome:
    """Run trials until there are enough, then draw the conclusions."""
    started_s = time.monotonic()
    url = config.storage or f"sqlite:///{folder.absolute() / DATABASE}"
    name = f"{folder.parent.name}/{folder.name}"
    study = open_study(name, url, make_pruner(config.pruner, int(config.recipe["max_epochs"])))
    space = config.search_space
    is_waiting = False
    while timeout_s is None or time.monotonic() - started_s < timeout_s:
        requeue_dead_trials(study)
        if len(finished_trials(study)) >= config.num_trials:
            break
        if _run_trial(study, space, folder, config):
            is_waiting = False
            continue
        if not is_waiting:
            logging.getLogger("firstlight").info("waiting for the last trials of other processes")
        is_waiting = True
        time.sleep(SECONDS_BETWEEN_LOOKS)
    return conclude(study, space, folder, config.num_fresh_seeds, config.data_dir, config.trainer or {})


def _run_trial(study: optuna.Study, space: SearchSpace, folder: Path, config: SweepConfig) -> bool:
    """Run one trial; return False if the trials that others have begun are enough."""
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
            space, folder, config.data_dir, config.seeds_per_trial, config.trainer or {}, on_begin=choosing.close
        )
        try:
            study.optimize(objective, n_trials=1)
        except Exception as error:
            retry(study, study.get_trials(deepcopy=False)[objective.number])  # a later process trains it again
            if not isinstance(error, StoppedError):
                raise
            command = f"firstlight sweep --resume {folder}"
            raise StoppedError(f"the sweep was stopped; continue with: {command}", error.exit_status) from error
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
