"""Faithfulness of a run's attribution maps on its test images, as a JSON file and a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, NotRequired, TypedDict

import torch
from rich import box
from rich.table import Table

from firstlight.attribution import DEFAULT_METHOD, METHODS, Faithfulness, evaluate
from firstlight.data.batches import to_unit
from firstlight.data.images import ImageSet
from firstlight.data.rng import generator
from firstlight.errors import RunError, UsageError
from firstlight.runs.run import Run
from firstlight.typed_json import Between, Count, PathText, read_json

RANDOM = "random"
AUTO = "auto"  # value that selects the method and the stage with the best measured faithfulness
COLUMNS = {  # field: heading, with an arrow to the better values. Line breaks keep the table within 80 columns.
    "deletion": "deletion\n\N{DOWNWARDS ARROW}",
    "insertion": "insertion\n\N{UPWARDS ARROW}",
    "energy_inside": "energy\ninside \N{UPWARDS ARROW}",
    "pointing": "pointing\n\N{UPWARDS ARROW}",
    "randomization": "random-\nization \N{DOWNWARDS ARROW}",
}
SMALLER_IS_BETTER = frozenset(("deletion", "randomization"))
MUST_BEAT_RANDOM = ("deletion", "energy_inside")
_Score = Annotated[float, Between(0, 1.001)]  # a mean in float32 may exceed 1 by its rounding


class RowFields(TypedDict):
    """A row of `trust.json`; see `Faithfulness`."""

    method: str
    stage: str
    deletion: _Score
    insertion: _Score
    energy_inside: _Score | None
    pointing: _Score | None
    randomization: _Score


class TrustFields(TypedDict):
    """`trust.json`."""

    data: NotRequired[PathText]
    num_images: NotRequired[Count]
    seed: NotRequired[int]
    rows: list[RowFields]


def measure_trust(
    run: Run,
    images: ImageSet,
    num_images: int,
    seed: int = 0,
    on_row: Callable[[int, int], None] | None = None,
    methods: Sequence[str] = tuple(METHODS),
) -> list[Faithfulness]:
    """Measure the faithfulness of methods at every stage, and write `trust.json` into the run folder.

    Args:
        run: Finished run.
        images: Test split of the run.
        num_images: Largest number of test images, which are chosen at random.
        seed: Seed of the choice, of the noise and of the random weights.
        on_row: Called before the first row and after each row with the number of rows done and of all rows.
        methods: Names of the methods; by default those that need no more than one backward pass.

    Returns:
        One row for each method and stage, with means over the images; see `firstlight.attribution.evaluate`.

    Raises:
        UsageError: `num_images` is below 1, or a method does not exist.
    """
    chosen = choose_images(images, num_images, seed)
    rows = evaluate(
        run.network, to_unit(chosen.images), masks=chosen.evidence, methods=methods, seed=seed, on_row=on_row
    )
    content = {"data": images.name, "num_images": len(chosen), "seed": seed, "rows": [asdict(row) for row in rows]}
    run.save_json("trust.json", content)
    return rows


def choose_images(images: ImageSet, num_images: int, seed: int = 0) -> ImageSet:
    """Choose images at random on which to measure the faithfulness of maps.

    Args:
        images: Test images.
        num_images: Largest number of images.
        seed: Seed of the choice.

    Raises:
        UsageError: `num_images` is below 1.
    """
    if num_images < 1:
        raise UsageError(f"num_images must be 1 or more, not {num_images}")
    return images[torch.randperm(len(images), generator=generator(seed, 0, "trust"))[:num_images]]


def load_trust(run: Run) -> list[Faithfulness]:
    """Return the rows of the run's `trust.json`; none if its maps have not been measured.

    Args:
        run: Finished run.

    Raises:
        RunError: The file is damaged.
    """
    path = run.path / "trust.json"
    if not path.is_file():
        return []
    advice = f"run `firstlight explain {run.path} --evaluate` again"
    found = read_json(path, TrustFields, advice)["rows"]
    rows = [Faithfulness(**{name: row[name] for name in RowFields.__annotations__}) for row in found]
    noise = {row.stage for row in rows if row.method == RANDOM}
    for number, row in enumerate(rows):
        if row.stage not in noise:
            raise RunError(f"{path}: rows has no {RANDOM} row of stage {row.stage}; {advice}")
        for name in ("energy_inside", "pointing"):
            if (getattr(row, name) is None) != (getattr(rows[0], name) is None):
                raise RunError(f"{path}: rows.{number}.{name} must be null in all rows or in none; {advice}")
    return rows


def not_better_than_noise(row: Faithfulness, rows: Sequence[Faithfulness]) -> list[str]:
    """Return which of `deletion` and `energy_inside` are not better than those of random maps at the row's stage."""
    noise = next(other for other in rows if other.method == RANDOM and other.stage == row.stage)
    failed = []
    for name in MUST_BEAT_RANDOM:
        value, baseline = getattr(row, name), getattr(noise, name)
        if value is not None and (value >= baseline if name in SMALLER_IS_BETTER else value <= baseline):
            failed.append(name)
    return failed


@dataclass(frozen=True)
class MapChoice:
    """The method and the stage of the maps that a page or a sheet shows.

    Args:
        method: Name of the attribution method.
        stage: Name of the stage; None for the last.
        reason: Sentence that says why they were chosen; empty if the user named the method.
    """

    method: str
    stage: str | None
    reason: str = ""


def choose_maps(run: Run, method: str | None = AUTO, stage: str | None = None, *, only_fast: bool = False) -> MapChoice:
    """Return the named method and stage, or for "auto" those that `explain --evaluate` has found most faithful.

    Rows that are not better than noise at their stage are left out. The others are ranked by each metric that was
    measured, and the row with the smallest mean rank is chosen; among equal mean ranks, the smallest deletion decides.

    Args:
        run: Finished run.
        method: Name of an attribution method, or "auto"; None means "auto".
        stage: Name of a stage, to which the choice is then restricted; None for any stage.
        only_fast: Restrict the choice to methods that need no more than one backward pass, for many images.

    Raises:
        RunError: `trust.json` is damaged.
    """
    if method not in (None, AUTO):
        return MapChoice(method, stage)
    rows = [row for row in load_trust(run) if stage in (None, row.stage)]
    faithful = [
        row
        for row in rows
        if row.method != RANDOM and (row.method in METHODS or not only_fast) and not not_better_than_noise(row, rows)
    ]
    if not faithful:
        cause = "no measured map is better than noise" if rows else "their faithfulness has not been measured"
        return MapChoice(DEFAULT_METHOD, stage, f"the maps are those of the default method, {DEFAULT_METHOD}: {cause}")
    metrics = [name for name in COLUMNS if getattr(faithful[0], name) is not None]
    best = min(faithful, key=lambda row: (_mean_rank(row, faithful, metrics), row.deletion))
    rank = _mean_rank(best, faithful, metrics)
    reason = (
        f"the maps of {best.method} at stage {best.stage} have the best mean rank ({rank:.1f}) over "
        f"{', '.join(metrics).replace('_', ' ')}, of the {len(faithful)} measured maps that are better than noise"
    )
    return MapChoice(best.method, best.stage, reason)


def _mean_rank(row: Faithfulness, rows: Sequence[Faithfulness], metrics: Sequence[str]) -> float:
    """Return the mean over the metrics of the row's rank among the rows: 1 for the best, equal values share a rank."""
    ranks = []
    for name in metrics:
        sign = 1 if name in SMALLER_IS_BETTER else -1
        ranks.append(1 + sum(sign * getattr(other, name) < sign * getattr(row, name) for other in rows))
    return sum(ranks) / len(ranks)


def evaluation_table(rows: Sequence[Faithfulness]) -> Table:
    """Return a table of the rows: the best value of each column is bold, and metrics no better than noise are listed.

    Args:
        rows: Rows from `measure_trust`.
    """
    shown = {name: heading for name, heading in COLUMNS.items() if getattr(rows[0], name) is not None}
    title = "Faithfulness of the maps: means over the images; arrows point to better values."
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    table.add_column("stage")
    table.add_column("method")
    for heading in shown.values():
        table.add_column(heading, justify="right")
    table.add_column("no better\nthan noise\nin")
    methods = [row for row in rows if row.method != RANDOM]
    best = {name: (min if name in SMALLER_IS_BETTER else max)(getattr(row, name) for row in methods) for name in shown}
    for row in rows:
        cells = [
            f"[bold]{value:.3f}[/bold]" if row.method != RANDOM and value == best[name] else f"{value:.3f}"
            for name, value in ((name, getattr(row, name)) for name in shown)
        ]
        failed = not_better_than_noise(row, rows) if row.method != RANDOM else []
        style = "dim" if row.method == RANDOM else None
        names = ",\n".join(name.split("_")[0] for name in failed)
        table.add_row(row.stage, row.method, *cells, names, style=style, end_section=row.method == RANDOM)
    return table
