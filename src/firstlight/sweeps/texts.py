"""The outcome of a sweep in words and cells, for the terminal and the page."""

from __future__ import annotations

from firstlight.evaluation.student_t import MetricSummary
from firstlight.sweeps.outcome import Confirmation, Outcome
from firstlight.sweeps.search_space import Choice


def ranking_rows(outcome: Outcome, count: int) -> tuple[list[str], list[list[str]]]:
    """Return the headings and the rows of the best trials.

    Args:
        outcome: The outcome of the sweep.
        count: Largest number of rows.
    """
    names = list(dict.fromkeys(name for trial in outcome.trials for name in trial.values))
    rows = [
        [
            f"{trial.number} (the recipe)" if trial.is_recipe else str(trial.number),
            f"{trial.val_acc or 0.0:.2%}",
            *(value_text(trial.values[name]) if name in trial.values else "-" for name in names),
            trial.runs[0] if trial.runs else "-",
        ]
        for trial in outcome.ranking[:count]
    ]
    return ["trial", "val accuracy", *names, "run"], rows


def value_text(value: Choice) -> str:
    """Return a value with at most three significant digits.

    >>> value_text(0.012345), value_text(128), value_text("adam")
    ('0.0123', '128', 'adam')
    """
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def fresh_lines(outcome: Outcome) -> list[str]:
    """Return the sentences on the fresh seeds: what is left of the gain of each of the best trials."""
    itself = outcome.recipe_val_acc
    if itself is None:
        return ["No fresh seeds were trained, so that the gain of the best trial may be luck."] * bool(outcome.ranking)
    lines = [
        f"With {len(itself.values)} fresh seeds, the recipe itself reaches {_mean(itself)} on validation images.",
        *map(_confirmation_line, outcome.confirmations),
    ]
    if outcome.best == outcome.recipe:
        lines.append("None of them is better than the recipe itself: best.yaml is the recipe itself.")
    return lines


def _confirmation_line(each: Confirmation) -> str:
    in_sweep, fresh = f"{each.trial.val_acc or 0.0:.2%}", _mean(each.val_acc)
    return f"Trial {each.trial.number}: {in_sweep} in the sweep, {fresh} with fresh seeds; gain {_points(each.gain)}."


def _mean(summary: MetricSummary) -> str:
    return f"{summary.mean:.2%} ± {summary.deviation or 0.0:.2%}"


def _points(gain: MetricSummary) -> str:
    text = f"{100 * gain.mean:+.2f} points"
    if gain.interval is None:
        return text
    low, high = (100 * bound for bound in gain.interval)
    return f"{text} (95 % interval {low:+.2f} to {high:+.2f})"
