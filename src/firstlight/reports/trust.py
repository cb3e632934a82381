"""How far the maps of a run can be trusted: the checks of `attribution.faithfulness` on its test images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import torch
from rich import box
from rich.table import Table

from firstlight.attribution import Faithfulness, evaluate
from firstlight.data.batches import to_unit
from firstlight.data.images import ImageSet
from firstlight.data.rng import generator
from firstlight.errors import UsageError
from firstlight.runs.run import Run

RANDOM = "random"
COLUMNS = {  # field: heading; an arrow says which way is good. Broken so that the table fits 80 columns.
    "deletion": "deletion\n\N{DOWNWARDS ARROW}",
    "insertion": "insertion\n\N{UPWARDS ARROW}",
    "energy_inside": "energy\ninside \N{UPWARDS ARROW}",
    "pointing": "pointing\n\N{UPWARDS ARROW}",
    "randomization": "random-\nization \N{DOWNWARDS ARROW}",
}
SMALLER_IS_BETTER = frozenset(("deletion", "randomization"))
MUST_BEAT_RANDOM = ("deletion", "energy_inside")


def measure_trust(run: Run, images: ImageSet, num_images: int, seed: int = 0) -> list[Faithfulness]:
    """Check every method at every stage on test images chosen at random; writes `trust.json` into the run folder.

    Args:
        run: a finished run.
        images: its test split.
        num_images: how many images to use, at most.
        seed: of their choice, of the noise and of the random weights.

    Raises:
        UsageError: `num_images` is below 1.
    """
    if num_images < 1:
        raise UsageError(f"num_images must be 1 or more, not {num_images}")
    chosen = images[torch.randperm(len(images), generator=generator(seed, 0, "trust"))[:num_images]]
    rows = evaluate(run.network, to_unit(chosen.images), masks=chosen.evidence, seed=seed)
    content = {"data": images.name, "num_images": len(chosen), "seed": seed, "rows": [asdict(row) for row in rows]}
    run.save_json("trust.json", content)
    return rows


def loses_to_random(row: Faithfulness, rows: Sequence[Faithfulness]) -> list[str]:
    """Return which of deletion and energy inside a row does no better than noise of its stage."""
    noise = next(each for each in rows if each.method == RANDOM and each.stage == row.stage)
    lost = []
    for name in MUST_BEAT_RANDOM:
        value, floor = getattr(row, name), getattr(noise, name)
        if value is not None and (value >= floor if name in SMALLER_IS_BETTER else value <= floor):
            lost.append(name)
    return lost


def evaluation_table(rows: Sequence[Faithfulness]) -> Table:
    """Return the table for the terminal: the best of each column bold, what does not beat noise marked."""
    shown = {name: heading for name, heading in COLUMNS.items() if getattr(rows[0], name) is not None}
    title = "Can the maps be trusted? Means over the images; arrows say which way is good."
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
        lost = loses_to_random(row, rows) if row.method != RANDOM else []
        style = "dim" if row.method == RANDOM else None
        names = ",\n".join(name.split("_")[0] for name in lost)
        table.add_row(row.stage, row.method, *cells, names, style=style, end_section=row.method == RANDOM)
    return table
