"""Seconds and accuracy of the speed recipes by the clock of the speed records, from `time_to_accuracy*.jsonl`."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

from firstlight.recipes import get_recipe
from record import lower_bound
from rendering.cells import Row, commit, count, hardware, hardware_with_threads, load_lines, markdown, mean_percent
from rendering.recipe_versions import differences, recipe_of

VIEWS = ("views", "views_margin")  # the tables have a column for the views
COLUMNS = "recipe | epochs | seconds | views | tta | lower bound (95 %) | single view | n | hardware"


def of_last_commit(rows: list[Row], key: Callable[[Row], Any]) -> dict[Any, list[Row]]:
    """Group rows by a key; keep only the rows of each group's last commit, which ran alternately."""
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        group = groups.setdefault(key(row), [])
        if group and commit(group[-1]) != commit(row):
            group.clear()
        group.append(row)
    return groups


def name_and_machine(row: Row) -> tuple[str, str]:
    return row["recipe"]["name"], hardware_with_threads(row)


def current_runs() -> dict[tuple[str, str], list[Row]]:
    """Return the last runs of today's recipes, whatever the views, by recipe and machine."""
    rows = [row for row in load_lines("time_to_accuracy") if not differences(recipe_of(row), VIEWS)]
    return of_last_commit(rows, name_and_machine)


def earlier_runs() -> dict[tuple[str, str], list[Row]]:
    """Return the last runs of earlier recipes with today's epochs, on machines that today's recipe has not run on."""
    current = current_runs()
    rows = [
        row
        for row in load_lines("time_to_accuracy")
        if name_and_machine(row) not in current
        and row["recipe"]["max_epochs"] == get_recipe(row["recipe"]["name"]).max_epochs
    ]
    return of_last_commit(rows, name_and_machine)


def cells(runs: list[Row]) -> list[str]:
    """Return the cells of `COLUMNS`."""
    recipe = recipe_of(runs[-1])
    seconds = f"{statistics.fmean(run['seconds'] for run in runs):,.0f}"
    training = [f"`{recipe.name}`", str(recipe.max_epochs), seconds, f"`{recipe.views}`"]
    return [*training, *accuracies(runs), count(len(runs)), hardware_with_threads(runs[-1])]


def accuracies(runs: list[Row]) -> list[str]:
    """Return accuracy with tta, its one-sided 95 % lower bound, and accuracy with a single view."""
    with_tta = [run["test_acc_tta"] for run in runs]
    bound = f"{lower_bound(with_tta):.2%}" if len(runs) > 1 else "-"
    return [mean_percent(runs, "test_acc_tta"), bound, mean_percent(runs, "test_acc")]


def time_to_accuracy() -> str:
    """Today's recipes on every machine."""
    return markdown(COLUMNS, "lrrlrrrrl", map(cells, current_runs().values()))


def headline_runs() -> list[list[Row]]:
    """Return the runs of today's recipes on the machine with the most of them, where there are several."""
    groups = current_runs()
    (_, machine), _ = max(groups.items(), key=lambda group: len(group[1]))
    return [runs for (_, where), runs in groups.items() if where == machine and len(runs) > 1]


def headline_time() -> str:
    """Today's recipes on the machine with the most runs."""
    return markdown(COLUMNS, "lrrlrrrrl", map(cells, headline_runs()))


def headline() -> str:
    """The sentence that says what the headline figure is."""
    runs = max(headline_runs(), key=len)
    name, epochs, seconds, _, tta, bound, single, n, machine = cells(runs)
    return (
        f"*The headline figure: recipe {name}, {tta} with test-time augmentation (tta), {single} with a single view; "
        f"the mean with tta is above {bound} with 95 % confidence (n = {n}). {epochs} epochs, {seconds} s; {machine}.*"
    )


def earlier_recipes() -> str:
    """Earlier versions of the recipes on machines that today's version has not run on, and what has changed since."""
    rows = [[*cells(runs), listed(differences(recipe_of(runs[-1]), VIEWS))] for runs in earlier_runs().values()]
    return markdown(f"{COLUMNS} | fields that have changed since", "lrrlrrrrll", rows)


def listed(changes: dict[str, tuple[object, object]]) -> str:
    """Return the changed fields with the values that were measured."""
    return ", ".join(f"`{name}` {then}" for name, (then, _) in changes.items()) or "-"


def in_turns() -> str:
    """The seconds of two of today's recipes side by side on one core, in turns, pair by pair."""
    groups = of_last_commit([row for row in load_lines("time_to_accuracy") if "turns_s" in row], hardware_with_threads)
    rows = []
    for machine, measured in groups.items():
        pairs = list(zip(measured[::2], measured[1::2], strict=True))
        if any(differences(recipe_of(row), VIEWS) for row in measured):
            continue
        both = [
            text
            for runs in zip(*pairs, strict=True)
            for text in (
                f"`{runs[0]['recipe']['name']}`",
                f"{statistics.fmean(run['seconds'] for run in runs):,.0f}",
            )
        ]
        ratios = [ours["seconds"] / theirs["seconds"] for ours, theirs in pairs]
        spread = f" ± {statistics.stdev(ratios):.2f}" if len(ratios) > 1 else ""
        rows.append([*both, f"{statistics.fmean(ratios):.2f}{spread}", count(len(pairs)), machine])
    header = "recipe | seconds | beside | seconds | ratio of the seconds, pair by pair | n | hardware"
    return markdown(header, "lrlrrrl", rows)


def on_gpu() -> str:
    """Accuracy of the speed recipes on a GPU, and the fields that have changed since."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in load_lines("time_to_accuracy_gpu"):
        groups.setdefault((row["recipe"]["name"], row["steps"], hardware(row)), []).append(row)
    rows = [
        [
            f"`{name}`",
            steps,
            *accuracies(runs),
            count(len(runs)),
            machine,
            listed(differences(recipe_of(runs[-1]), VIEWS)),
        ]
        for (name, steps, machine), runs in groups.items()
    ]
    header = "recipe | steps | tta | lower bound (95 %) | single view | n | hardware | fields that have changed since"
    return markdown(header, "llrrrrll", rows)
