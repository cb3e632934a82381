"""The accuracy of every recipe as it is today, from `accuracy.jsonl`."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict

from firstlight.recipes import RECIPES, get_recipe
from record import usual_precision
from rendering.cells import Row, count, hardware, load_lines, markdown, mean_percent
from rendering.recipe_versions import is_current
from rendering.training_time import current_runs

OPTIMIZER_NAMES = {"adam": "Adam", "sgd": "SGD", "muon": "Muon"}


def current_groups() -> dict[tuple[str, str], list[Row]]:
    """Return the runs of today's recipes by recipe and machine; the file has earlier and shorter recipes, too."""
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in filter(is_current, load_lines("accuracy")):
        groups[row["recipe"]["name"], hardware(row)].append(row)
    return groups


def accuracy() -> str:
    """Mean test accuracy of every recipe on every machine."""
    rows = []
    for (name, machine), runs in current_groups().items():
        recipe = get_recipe(name)
        training = [recipe.data, OPTIMIZER_NAMES[recipe.optimizer.name], str(recipe.max_epochs), f"{recipe.num_val:,}"]
        accuracies = [mean_percent(runs, "test_acc"), mean_percent(runs, "test_acc_tta")]
        rows.append([f"`{name}`", *training, precisions(runs), count(len(runs)), *accuracies, minutes(runs), machine])
    header = "recipe | data | optimizer | epochs | held out | precision | n | single view | tta | time | hardware"
    return markdown(header, "lllrrlrrrrl", rows)


def steady_accuracy() -> str:
    """Mean test accuracy of every recipe with several runs, on the machine with the most of them.

    Names the recipes of which neither this table nor the one of the seconds has several runs.
    """
    best: dict[str, list[Row]] = {}
    for (name, _), runs in current_groups().items():
        best[name] = max(best.get(name, []), runs, key=len)
    rows = [
        [
            f"`{name}`",
            get_recipe(name).data,
            str(get_recipe(name).max_epochs),
            str(len(runs)),
            mean_percent(runs, "test_acc"),
            mean_percent(runs, "test_acc_tta"),
            minutes(runs),
            hardware(runs[0]),
        ]
        for name, runs in best.items()
        if len(runs) > 1
    ]
    table = markdown("recipe | data | epochs | n | single view | tta | time | hardware", "llrrrrrl", rows)
    timed = {name for (name, _), runs in current_runs().items() if len(runs) > 1}
    left_out = [f"`{name}`" for name in RECIPES if len(best.get(name, [])) < 2 and name not in timed]
    return (
        f"{table}\n\nRecipes that are not in the table because they have fewer than two runs: {', '.join(left_out)}."
        if left_out
        else table
    )


def minutes(runs: list[Row]) -> str:
    """Return the mean training time of the runs that were timed."""
    seconds = [run["train_s"] for run in runs if run["train_s"] is not None]
    return f"{statistics.fmean(seconds) / 60:.1f} min" if seconds else "not timed"


def precisions(runs: list[Row]) -> str:
    """Return the precision of all runs, or how many runs had each."""
    counts = Counter(run.get("precision") or usual_precision(run) for run in runs)
    return ", ".join(f"{number} of {name}" if len(counts) > 1 else name for name, number in counts.items())
