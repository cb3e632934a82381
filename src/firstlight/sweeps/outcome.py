"""What a sweep has found: the best trials, whether they are better on fresh seeds, and which fields matter."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from firstlight.evaluation.student_t import MetricSummary, summarize_values
from firstlight.file_lock import locked
from firstlight.files import write_atomic
from firstlight.ray_cluster import RayCluster
from firstlight.recipes.config import Recipe
from firstlight.sweeps.search_space import Choice, SearchSpace
from firstlight.sweeps.storage import finished_trials
from firstlight.sweeps.trial import REMARK, RUNS
from firstlight.training.repeated_fits import fit_seeds

NUM_CONFIRMED = 3  # best trials that are trained on fresh seeds
FRESH_SEEDS_FROM = 1000  # above the seed of the recipe
MIN_TRIALS = 4  # complete ones, for the importance of the fields
BEST, TABLE = "best.yaml", "trials.csv"


@dataclass(frozen=True)
class TrialResult:
    """One finished trial.

    Args:
        number: Number of the trial. One that was interrupted has a new number.
        is_recipe: Whether its values are those of the recipe itself, or the nearest ones of the space.
        values: Values of the searched fields.
        val_acc: Accuracy on the validation images in [0, 1]; of a pruned trial, the last one; None without any.
        is_pruned: Whether the trial ended early.
        runs: Its run folders, below the folder of the sweep.
        duration_s: Seconds from its begin to its end.
        remark: Why it could not be trained; empty if it could.
    """

    number: int
    is_recipe: bool
    values: Mapping[str, Choice]
    val_acc: float | None
    is_pruned: bool
    runs: tuple[str, ...]
    duration_s: float
    remark: str = ""


@dataclass(frozen=True)
class Confirmation:
    """A trial trained again with seeds that the sweep has not seen.

    Args:
        trial: The trial.
        val_acc: Mean accuracy on the validation images of these seeds.
        gain: Difference from the recipe itself with the same seeds.
    """

    trial: TrialResult
    val_acc: MetricSummary
    gain: MetricSummary


@dataclass(frozen=True)
class Outcome:
    """The outcome of a sweep.

    Args:
        path: Folder of the sweep.
        recipe: The recipe itself.
        trials: All finished trials, in the order in which they began.
        importance: Share of each field in the differences between the trials; empty if there are too few.
        recipe_val_acc: Accuracy of the recipe itself with the fresh seeds; None without them.
        confirmations: The best trials with fresh seeds, the best one first.
        log_fields: Names of the fields that were searched on a logarithmic scale.
        best: The best recipe: by fresh seeds if there are any, else by the trials. It can be the recipe itself.
    """

    path: Path
    recipe: Recipe
    trials: tuple[TrialResult, ...]
    importance: Mapping[str, float]
    recipe_val_acc: MetricSummary | None
    confirmations: tuple[Confirmation, ...]
    log_fields: frozenset[str]
    best: Recipe

    @property
    def ranking(self) -> list[TrialResult]:
        """The complete trials, the best one first."""
        complete = [trial for trial in self.trials if not trial.is_pruned and trial.val_acc is not None]
        return sorted(complete, key=lambda trial: (-(trial.val_acc or 0.0), trial.number))


def conclude(
    study: optuna.Study,
    space: SearchSpace,
    folder: Path,
    num_fresh_seeds: int,
    data_dir: str,
    trainer_options: Mapping[str, Any],
    cluster: RayCluster | None = None,
) -> Outcome:
    """Train the best trials on fresh seeds, and write `trials.csv` and `best.yaml`.

    Args:
        study: The trials.
        space: The search space.
        folder: Folder of the sweep.
        num_fresh_seeds: Number of fresh seeds; 0 leaves them out.
        data_dir: Folder of the data.
        trainer_options: Arguments of `pytorch_lightning.Trainer`.
        cluster: Connected cluster on which the fresh seeds are trained; None trains them in this process.
    """
    trials = tuple(sorted((result_of(trial, space) for trial in finished_trials(study)), key=lambda each: each.number))
    log_fields = frozenset(parameter.name for parameter in space.parameters if parameter.log)
    outcome = Outcome(folder, space.recipe, trials, importance_of(study), None, (), log_fields, space.recipe)
    if outcome.ranking:
        with locked(folder / "fresh_seeds.lock"):  # the other processes of the sweep then find finished runs
            options = dict(trainer_options) | {"cluster": cluster}
            outcome = _confirmed(outcome, space, num_fresh_seeds, data_dir, options)
    write_atomic(folder / TABLE, as_csv(outcome, [parameter.name for parameter in space.parameters]))
    outcome.best.save(folder / BEST)
    return outcome


def result_of(trial: FrozenTrial, space: SearchSpace) -> TrialResult:
    """Return what a sweep keeps of a trial of Optuna's."""
    return TrialResult(
        trial.number,
        trial.params == space.default_values(),
        trial.params,
        trial.value if trial.value is not None else _last_value(trial),
        trial.state == TrialState.PRUNED,
        tuple(trial.user_attrs.get(RUNS, ())),
        trial.duration.total_seconds() if trial.duration is not None else 0.0,
        str(trial.user_attrs.get(REMARK, "")),
    )


def _last_value(trial: FrozenTrial) -> float | None:
    return trial.intermediate_values[max(trial.intermediate_values)] if trial.intermediate_values else None


def importance_of(study: optuna.Study) -> dict[str, float]:
    """Return how much each field distinguishes the better trials from the others (PED-ANOVA), the largest first.

    Watanabe et al. 2023, "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary Subspaces". Fields
    that only some trials have are left out.
    """
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < MIN_TRIALS or len({trial.value for trial in complete}) < 2:
        return {}
    return dict(get_param_importances(study, evaluator=PedAnovaImportanceEvaluator()))


def _confirmed(
    outcome: Outcome, space: SearchSpace, num_seeds: int, data_dir: str, options: Mapping[str, Any]
) -> Outcome:
    """Return the outcome with the best trials and the recipe itself trained on fresh seeds."""
    if not num_seeds:
        return _with_best(outcome, None, (), space.apply(outcome.ranking[0].values))
    best = [trial for trial in outcome.ranking if space.apply(trial.values) != space.recipe][:NUM_CONFIRMED]
    if not best:
        return outcome

    def fresh(values: Mapping[str, Choice]) -> MetricSummary:
        return _on_fresh_seeds(space.apply(values), num_seeds, outcome.path, data_dir, options)

    log = logging.getLogger("firstlight")
    log.info(f"training the recipe itself and the best {len(best)} other trials on {num_seeds} fresh seeds")
    itself = fresh({})
    found = []
    for trial in best:
        again = fresh(trial.values)
        gains = [value - other for value, other in zip(again.values, itself.values, strict=True)]
        found.append(Confirmation(trial, again, summarize_values(gains)))
    found.sort(key=lambda each: -each.val_acc.mean)
    winner = space.apply(found[0].trial.values) if found[0].gain.mean > 0 else space.recipe
    return _with_best(outcome, itself, tuple(found), winner)


def _with_best(
    outcome: Outcome, itself: MetricSummary | None, confirmations: tuple[Confirmation, ...], best: Recipe
) -> Outcome:
    return replace(outcome, recipe_val_acc=itself, confirmations=confirmations, best=best)


def _on_fresh_seeds(
    recipe: Recipe, num_seeds: int, folder: Path, data_dir: str, options: Mapping[str, Any]
) -> MetricSummary:
    seeded = replace(recipe, seed=recipe.seed + FRESH_SEEDS_FROM)
    return fit_seeds(seeded, num_seeds, data_dir, folder, test=False, **options).metrics["val_acc"]


def as_csv(outcome: Outcome, names: Sequence[str]) -> str:
    """Return the table of the trials, one row each, in the order in which they began.

    Args:
        outcome: The outcome.
        names: Names of the searched fields.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["trial", "val_acc", "state", *names, "seconds", "runs", "remark"])
    for trial in outcome.trials:
        state = "pruned" if trial.is_pruned else "complete"
        values = [trial.values.get(name, "") for name in names]
        row = [trial.number, trial.val_acc, state, *values, round(trial.duration_s, 1), " ".join(trial.runs)]
        writer.writerow([*row, trial.remark])
    return stream.getvalue()
