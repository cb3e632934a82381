"""`firstlight fit --seeds N` and `--folds K`: train several runs of a recipe and print their summary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from firstlight.errors import UsageError

if TYPE_CHECKING:
    from firstlight.ray_cluster import RayCluster
    from firstlight.recipes.config import Recipe
    from firstlight.training.cross_validation import CrossValidation
    from firstlight.training.repeated_fits import RepeatedFits

TITLES = {"test_acc": "test", "test_acc_tta": "test, tta", "val_acc": "val"}


def repeat_fit(
    recipe: Recipe,
    data_dir: str,
    logs_dir: str,
    num_seeds: int | None,
    num_folds: int | None,
    options: dict[str, Any],
    cluster: RayCluster | None = None,
) -> None:
    """Train several seeds, or cross-validate, and print the summary.

    Raises:
        UsageError: Both numbers are given.
    """
    if num_seeds is not None and num_folds is not None:
        raise UsageError("give --seeds or --folds, not both")
    if num_seeds is not None:
        from firstlight.training.repeated_fits import fit_seeds

        print_seeds(fit_seeds(recipe, num_seeds, data_dir, logs_dir, cluster=cluster, **options))
    elif num_folds is not None:
        from firstlight.training.cross_validation import cross_validate

        print_folds(cross_validate(recipe, num_folds, data_dir, logs_dir, **options))


def print_seeds(found: RepeatedFits) -> None:
    """Print the accuracies of each seed, then their mean, standard deviation and lower bound."""
    titles = {name: title for name, title in TITLES.items() if name in found.metrics}
    rows = [
        [f"seed {run.recipe.seed}", *(f"{run.results[name]:.2%}" for name in titles), run.path.name]
        for run in found.runs
    ]
    summaries = [found.metrics[name] for name in titles]
    ends = [
        ["mean", *(f"{each.mean:.2%}" for each in summaries), ""],
        ["standard deviation", *(f"{each.deviation or 0:.2%}" for each in summaries), ""],
        ["lower 95 % bound", *(f"{each.lower_bound or 0:.2%}" for each in summaries), ""],
    ]
    _print_table(["", *(f"{title} accuracy" for title in titles.values()), "run"], rows, ends)
    print(f"run folders: {found.path.parent}")
    print(f"summary: {found.path / 'summary.json'}")


def print_folds(found: CrossValidation) -> None:
    """Print the accuracy on each fold, then the mean, the standard deviation and the accuracy on all images."""
    rows = [
        [
            f"fold {number}",
            f"{accuracy:.2%}",
            f"{run.results['test_acc']:.2%}" if "test_acc" in run.results else "",
            run.path.name,
        ]
        for number, (run, accuracy) in enumerate(zip(found.runs, found.accuracy.values, strict=True), 1)
    ]
    ends = [
        ["mean", f"{found.accuracy.mean:.2%}", "", ""],
        ["standard deviation", f"{found.accuracy.deviation or 0:.2%}", "", ""],
    ]
    _print_table(["", "held-out accuracy", "test accuracy", "run"], rows, ends)
    count = len(found.predictions)
    print(f"out-of-fold accuracy of {count:,} training images: {found.predictions.accuracy:.2%}")
    print(f"predictions: {found.path / 'oof_predictions.npz'}")
    print(f"run folders: {found.path.parent}")
    print(f"summary: {found.path / 'summary.json'}")


def _print_table(headings: list[str], rows: list[list[str]], ends: list[list[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="left" if number in (0, len(headings) - 1) else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    table.add_section()
    for row in ends:
        table.add_row(*row)
    Console(soft_wrap=True, markup=False, emoji=False).print(table)
