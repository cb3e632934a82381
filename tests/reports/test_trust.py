"""The trust measurement: its file, its choice of images, and the comparison with noise."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace

import pytest
import torch
from rich.console import Console
from torch import Tensor

from firstlight.attribution import METHODS, Faithfulness
from firstlight.errors import RunError, UsageError
from firstlight.reports import trust
from firstlight.reports.trust import (
    RANDOM,
    MapChoice,
    choose_maps,
    evaluation_table,
    measure_trust,
    not_better_than_noise,
)
from firstlight.runs.run import Run
from reference.made_run import make_run
from reference.tiny import tiny_split


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Tensor, Tensor | None]]:
    """Record the images and masks that are evaluated."""
    seen: list[tuple[Tensor, Tensor | None]] = []
    monkeypatch.setattr(trust, "evaluate", lambda network, images, masks, **_: seen.append((images, masks)) or [])
    return seen


def test_the_choice_of_images_follows_the_seed_and_takes_no_image_twice(
    run: Run, evaluated: list[tuple[Tensor, Tensor | None]]
) -> None:
    images = tiny_split("test")
    for seed in (0, 0, 1):
        measure_trust(run, images, num_images=10, seed=seed)
    measure_trust(run, images, num_images=1000)
    first, again, other, all_ = (chosen for chosen, _ in evaluated)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert sorted(all_.flatten(1).sum(dim=1).tolist()) == sorted((images.images / 255).flatten(1).sum(dim=1).tolist())
    assert json.loads((run.path / "trust.json").read_text())["num_images"] == 83


def test_masks_are_selected_with_their_images(run: Run, evaluated: list[tuple[Tensor, Tensor | None]]) -> None:
    images = tiny_split("test")
    bright = images.images[:, 0] > 128
    measure_trust(run, replace(images, evidence=bright), num_images=7)
    measure_trust(run, images, num_images=7)
    (chosen, masks), (_, nothing) = evaluated
    assert masks is not None
    assert torch.equal(masks, chosen[:, 0] > 128 / 255)
    assert nothing is None


def test_no_images_are_refused(run: Run) -> None:
    with pytest.raises(UsageError, match="num_images must be 1 or more, not 0"):
        measure_trust(run, tiny_split("test"), num_images=0)


def row(method: str, stage: str, deletion: float, energy: float | None, **others: float) -> Faithfulness:
    values = {"insertion": 0.5, "pointing": None if energy is None else 0.5, "randomization": 0.1} | others
    return Faithfulness(method, stage, deletion=deletion, energy_inside=energy, **values)


NOISE = [row(RANDOM, "layer1", 0.5, 0.3), row(RANDOM, "layer3", 0.2, 0.6)]


@pytest.mark.parametrize(
    ("deletion", "energy", "stage", "lost"),
    [
        (0.4, 0.4, "layer1", []),
        (0.5, 0.4, "layer1", ["deletion"]),  # equal to noise is not better
        (0.6, 0.3, "layer1", ["deletion", "energy_inside"]),
        (0.4, 0.2, "layer1", ["energy_inside"]),
        (0.4, 0.4, "layer3", ["deletion", "energy_inside"]),  # the noise of its own stage counts
        (0.1, 0.7, "layer3", []),
        (0.1, None, "layer3", []),  # no evidence masks
    ],
)
def test_a_map_must_beat_the_noise_of_its_stage(
    deletion: float, energy: float | None, stage: str, lost: list[str]
) -> None:
    each = row("grad_cam", stage, deletion, energy)
    assert not_better_than_noise(each, [each, *NOISE]) == lost


def printed(rows: list[Faithfulness], width: int, styled: bool = False) -> str:
    console = Console(width=width, record=True, file=io.StringIO(), force_terminal=styled)
    console.print(evaluation_table(rows))
    return console.export_text(styles=styled)


def test_the_table_marks_the_best_of_the_methods() -> None:
    rows = [
        row("grad_cam", "layer1", 0.111, 0.444, randomization=0.77),
        row("layer_cam", "layer1", 0.600, 0.222, insertion=0.9),
        row(RANDOM, "layer1", 0.050, 0.999, randomization=0.01),
    ]
    styled = printed(rows, 100, styled=True)
    for best in ("0.111", "0.444", "0.900", "0.100"):
        assert f"\x1b[1m{best}" in styled, "the best of the methods is bold"
    for other in ("0.600", "0.222", "0.050", "0.999", "0.010"):
        assert f"\x1b[1m{other}" not in styled, "noise competes with nobody"


def test_the_table_names_what_is_no_better_than_noise() -> None:
    rows = [
        row("grad_cam", "layer1", 0.4, 0.4),
        row("hires_cam", "layer1", 0.5, 0.4),
        row("layer_cam", "layer1", 0.6, 0.1),
        row(RANDOM, "layer1", 0.5, 0.3),
    ]
    lines = printed(rows, 100).splitlines()
    start = next(number for number, line in enumerate(lines) if "grad_cam" in line)
    ends = [line.split()[-1] for line in lines[start : start + 4]]
    assert ends == ["0.100", "deletion", "deletion,", "energy"]


@pytest.mark.parametrize("energy", [0.4, None], ids=["masks", "no masks"])
def test_names_and_numbers_are_whole_in_eighty_columns(energy: float | None) -> None:
    rows = [row(method, "residual3", 0.123, energy) for method in (*METHODS, RANDOM)]
    text = printed(rows, 80)
    assert "\N{HORIZONTAL ELLIPSIS}" not in text
    words = text.split()
    assert {"residual3", *METHODS, RANDOM, "0.123"} <= set(words)
    assert ("0.400" in words) == (energy is not None)
    assert ("pointing" in words) == (energy is not None)


def test_trust_json_holds_the_rows_and_how_they_were_measured(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row("grad_cam", "layer1", 0.25, 0.5), row(RANDOM, "layer1", 0.5, None)]
    monkeypatch.setattr(trust, "evaluate", lambda network, images, **_: rows)
    assert measure_trust(run, tiny_split("test"), num_images=2, seed=3) == rows
    values = {"insertion": 0.5, "randomization": 0.1}
    assert json.loads((run.path / "trust.json").read_text()) == {
        "data": "tiny test",
        "num_images": 2,
        "seed": 3,
        "rows": [
            {"method": "grad_cam", "stage": "layer1", "deletion": 0.25, "energy_inside": 0.5, "pointing": 0.5} | values,
            {"method": "random", "stage": "layer1", "deletion": 0.5, "energy_inside": None, "pointing": None} | values,
        ],
    }


def test_trust_json_is_unchanged_if_the_measurement_fails(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.save_json("trust.json", {"rows": []})

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("stopped")

    monkeypatch.setattr(trust, "evaluate", fail)
    with pytest.raises(RuntimeError, match="stopped"):
        measure_trust(run, tiny_split("test"), num_images=1)
    assert json.loads((run.path / "trust.json").read_text()) == {"rows": []}


def faithful(stage: str, method: str, deletion: float, insertion: float) -> dict[str, object]:
    values = {"energy_inside": None, "pointing": None, "randomization": 0.1}
    return values | {"stage": stage, "method": method, "deletion": deletion, "insertion": insertion}


def test_auto_chooses_the_best_mean_rank_among_the_maps_that_beat_noise(tmp_path):
    run = make_run(tmp_path)
    rows = [
        faithful("layer3", "grad_cam", 0.5, 0.9),  # the best insertion, but a deletion no better than noise
        faithful("layer3", "hires_cam", 0.2, 0.6),
        faithful("layer3", "random", 0.4, 0.3),
        faithful("residual3", "grad_cam", 0.3, 0.5),
        faithful("residual3", "random", 0.4, 0.3),
    ]
    run.save_json("trust.json", {"rows": rows})
    chosen = choose_maps(run)
    assert (chosen.method, chosen.stage) == ("hires_cam", "layer3")
    assert "mean rank (1.0) over deletion, insertion, randomization, of the 2 measured maps" in chosen.reason
    assert choose_maps(run, "auto", "residual3").method == "grad_cam"
    slow = [faithful("pixels", "rise", 0.1, 0.9), faithful("pixels", "random", 0.4, 0.3)]
    run.save_json("trust.json", {"rows": rows + slow})
    assert (choose_maps(run).method, choose_maps(run).stage) == ("rise", "pixels")
    assert choose_maps(run, only_fast=True).method == "hires_cam"
    assert choose_maps(run, "layer_cam", "prep") == MapChoice("layer_cam", "prep")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"deletion": "0.1"}, "rows.0.deletion must be a number from 0 to 1.001, not '0.1'"),
        ({"insertion": math.nan}, "rows.0.insertion must be a number"),
        ({"method": "\x1b[2J"}, "rows.0.method must be text without control characters"),
        ({"pointing": 0.5}, "rows.1.pointing must be null in all rows or in none"),
        ({"stage": "layer9"}, "rows has no random row of stage layer9"),
    ],
)
def test_a_value_of_another_type_is_named_in_one_line(tmp_path: Path, changes: dict[str, object], says: str) -> None:
    run = make_run(tmp_path)
    rows = [faithful("layer3", "grad_cam", 0.2, 0.9) | changes, faithful("layer3", "random", 0.4, 0.3)]
    run.save_json("trust.json", {"rows": rows})
    with pytest.raises(RunError, match=r"trust\.json.*--evaluate") as caught:
        choose_maps(run)
    assert says in str(caught.value)


def test_auto_without_measurement_is_the_default_and_says_so(tmp_path):
    chosen = choose_maps(make_run(tmp_path), "auto", None)
    assert (chosen.method, chosen.stage) == ("grad_cam", None)
    assert "has not been measured" in chosen.reason
