"""`firstlight.sweep`: search the fields of a recipe for the highest validation accuracy."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from firstlight.data.source import open_source
from firstlight.errors import UsageError
from firstlight.paths import DEFAULT_DATA_DIR, DEFAULT_LOGS_DIR, user_path
from firstlight.ray_cluster import RayCluster, connect
from firstlight.recipes.config import Recipe
from firstlight.runs.options import FitOptions
from firstlight.runs.versions import new_version
from firstlight.sweeps.cluster_trials import run_on_cluster
from firstlight.sweeps.local_trials import run_trials
from firstlight.sweeps.outcome import Outcome, conclude
from firstlight.sweeps.search_space import read_space, space_of
from firstlight.sweeps.storage import PrunerName, SamplerName, make_pruner, open_study
from firstlight.sweeps.sweep_config import FILE_NAME as FILE_NAME  # also read by the benchmark
from firstlight.sweeps.sweep_config import SweepConfig
from firstlight.training.repeated_fits import on_one_device

DATABASE = "trials.db"
FOLDER = "sweeps"  # in the folder of all runs
VAL_SHARE = 10  # one training image of so many is held out if the recipe holds out none


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
    cluster: RayCluster | None = None,
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
        pruner: "median", "asha", "hyperband" or "none"; by default "median", and "none" if the space has `max_epochs`,
            because a schedule that is longer is behind after as many epochs.
        seeds_per_trial: Trainings of a trial, with consecutive seeds; its value is their mean accuracy.
        num_fresh_seeds: New seeds for the best three trials; 0 leaves this out.
        storage: Address of a database that several machines share; by default a file in the folder of the sweep.
        cluster: Ray cluster on which the trials are trained, as many at a time as it has resources for; None trains
            them one after the other in this process. Its machines must see `logs_dir` and `data_dir` at the same paths.
        **trainer_options: Any argument of `pytorch_lightning.Trainer` that is a number or text, except `devices`: each
            trial is trained on one device.

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
    trainer_options = on_one_device(trainer_options)
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
    return _continue(folder, config, timeout_s, cluster)


def resume_sweep(
    folder: Path | str,
    num_trials: int | None = None,
    timeout_s: float | None = None,
    cluster: RayCluster | None = None,
) -> Outcome:
    """Continue a sweep that was interrupted, or join one that other processes work on.

    Args:
        folder: Folder of the sweep.
        num_trials: Number of trials in all; None keeps that of the sweep.
        timeout_s: Seconds after which no new trial begins.
        cluster: See `sweep`; a sweep may continue elsewhere than it began.

    Raises:
        RunError: The folder holds no sweep.
        UsageError, StoppedError, FirstlightError: See `sweep`.
    """
    folder = user_path(folder)
    config = SweepConfig.load(folder)
    if num_trials is not None and num_trials != config.num_trials:
        config = replace(config, num_trials=num_trials)
        config.save(folder)
    return _continue(folder, config, timeout_s, cluster)


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


def _continue(folder: Path, config: SweepConfig, timeout_s: float | None, cluster: RayCluster | None) -> Outcome:
    """Run trials until there are enough, then draw the conclusions."""
    deadline_s = math.inf if timeout_s is None else time.monotonic() + timeout_s
    url = config.storage or f"sqlite:///{folder.absolute() / DATABASE}"
    name = f"{folder.parent.name}/{folder.name}"
    with nullcontext() if cluster is None else connect(cluster):
        study = open_study(name, url, make_pruner(config.pruner, int(config.recipe["max_epochs"])))
        if cluster is None:
            run_trials(study, folder, config, deadline_s)
        else:
            run_on_cluster(study, url, folder.absolute(), config, cluster, deadline_s)
        options = config.trainer or {}
        return conclude(study, config.search_space, folder, config.num_fresh_seeds, config.data_dir, options, cluster)
