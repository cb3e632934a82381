"""`firstlight fit --dry_run` and `--find_lr`: what to know before a training."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from firstlight.durations import duration
from firstlight.errors import UsageError

if TYPE_CHECKING:
    from firstlight.recipes.config import Recipe
    from firstlight.training.find_lr import LearningRates
    from firstlight.training.plan import Plan

FLAGS = ("--dry_run", "--find_lr")


def print_before_fit(
    recipe: Recipe, values: dict[str, Any], arguments: Sequence[str], trainer_options: dict[str, Any]
) -> None:
    """Print the plan of a training, or a suggested learning rate.

    Args:
        recipe: The recipe.
        values: Values of all options.
        arguments: Arguments of the command line.
        trainer_options: Arguments of Lightning's Trainer.

    Raises:
        UsageError: Two of the options that exclude one another are given.
    """
    given = [name for name in ("dry_run", "find_lr", "seeds", "folds") if values[name]]
    if len(given) > 1:
        raise UsageError(f"give --{given[0]} or --{given[1]}, not both")
    data_dir, logs_dir = values["data_dir"], values["logs_dir"]
    named = {name: values[name] for name in ("steps", "decisions")} | trainer_options
    if values["find_lr"]:
        from firstlight.training.find_lr import find_lr

        print_learning_rates(find_lr(recipe, data_dir, logs_dir, **named), arguments)
        return
    from firstlight.training.plan import plan_fit

    print_plan(plan_fit(recipe, data_dir, logs_dir, logger=values["logger"], **named))


def print_learning_rates(found: LearningRates, arguments: Sequence[str]) -> None:
    """Print the suggested learning rate, the files, and the command that trains with it."""
    from firstlight.training.find_lr import FIGURE, TABLE

    print(f"suggested learning rate: {found.suggestion:.2g} (the recipe has {found.of_recipe:.2g})")
    for name in (FIGURE, TABLE):
        print(found.path / name)
    kept = [each for each in arguments if each not in FLAGS]
    print(f"\nfirstlight fit {shlex.join([*kept, '--optimizer.learning_rate', f'{found.suggestion:.2g}'])}")


def print_plan(plan: Plan) -> None:
    """Print what a training would do."""
    recipe, (num_train, num_val) = plan.recipe, plan.num_images
    sizes = " + ".join(map(str, plan.batch_sizes)) if len(plan.batch_sizes) < 5 else f"{plan.batch_sizes[0]} each"
    rows = {
        "recipe": f"{recipe.name} on {recipe.data}: {num_train:,} images to train, {num_val:,} to validate",
        "network": f"{recipe.network.name}, {plan.num_parameters:,} parameters",
        "devices": f"{plan.num_processes} x {plan.device}, precision {plan.precision}",
        "batch": f"{recipe.batch_size} images a step" + (f": {sizes}" if plan.num_processes > 1 else ""),
        "steps": f"{plan.steps_per_epoch:,} an epoch, {plan.num_steps:,} in {recipe.max_epochs} epochs",
        "time": _time(plan),
        "run folder": str(plan.folder),
        "files": ", ".join(plan.files),
    }
    if plan.num_processes > 1:
        rows["batch norm"] = "each process takes the statistics of its own share of a batch"
    width = max(map(len, rows))
    for name, text in rows.items():
        print(f"{name:{width}}  {text}")
    print("nothing was trained, and no file was written")


def _time(plan: Plan) -> str:
    if plan.estimate is None:
        return "not estimated: it is known only for the built-in data sets, on one device"
    train, test = duration(plan.estimate.train_s), duration(plan.estimate.test_s)
    return f"about {train} of training and {test} of test, from some steps on noise images"
