"""The tables of README and docs are rendered from results, and a page that cannot be rendered gives one clear line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import record
import rendering.cells
import tables
from firstlight.errors import UsageError
from firstlight.recipes import get_recipe
from rendering import map_quality, onnx_files, recipe_accuracy, recipe_versions, training_time

ROOT = Path(__file__).parents[2]
MACHINE = {"cpu": "A CPU", "cpu_cores": 2, "cpu_bfloat16": None, "threads": 1, "gpu": None}


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    return tmp_path


def run_of(name: str, seed: int, *, commit: str = "a" * 40, threads: int = 1, **fields: Any) -> dict[str, Any]:
    """A row of results; a field with a dot belongs to the recipe."""
    recipe = get_recipe(name).to_dict() | {"seed": seed}
    for field in [each for each in fields if "." in each]:
        group, _, last = field.partition(".")
        recipe[group][last] = fields.pop(field)
    numbers = {"test_acc": 0.9, "test_acc_tta": 0.91, "train_s": 60.0, "seconds": 100.0}
    where = {"commit": commit, "hardware": MACHINE | {"threads": threads}}
    return {"recipe": recipe} | numbers | where | fields


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def body(table: str) -> list[list[str]]:
    """The cells of a table below its head."""
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_an_unknown_table_is_one_clear_line() -> None:
    with pytest.raises(UsageError, match=r"README\.md: no table is called 'nowhere': choose one of headline, "):
        tables.render("<!-- table: nowhere -->\n<!-- end -->\n", "README.md")


def test_a_table_without_an_end_is_one_clear_line() -> None:
    page = "<!-- table: speed -->\n| a |\n\nText.\n\n<!-- table: app -->\n<!-- end -->\n"
    with pytest.raises(UsageError, match=r"results\.md: put '<!-- end -->' behind the table 'speed'"):
        tables.render(page, "results.md")


def test_the_program_ends_with_status_2_and_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- table: nowhere -->\n<!-- end -->\n")
    monkeypatch.setattr(tables, "PAGES", [page])
    monkeypatch.setattr("sys.argv", ["tables.py"])
    with pytest.raises(SystemExit) as ended:
        tables.main()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "no table is called 'nowhere'" in line
    assert page.read_text() == "<!-- table: nowhere -->\n<!-- end -->\n"


def test_a_missing_results_file_is_one_clear_line(results: Path) -> None:
    with pytest.raises(UsageError, match=r"startup\.json is missing: benchmarks/README\.md has the command"):
        rendering.cells.load("startup")


def test_pages_are_written_only_without_check(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(tables.TABLES, "speed", lambda: "| fresh |")
    page = tmp_path / "page.md"
    page.write_text("Before.\n<!-- table: speed -->\n| stale |\n<!-- end -->\nAfter.\n")
    assert tables.update([page], is_check=True) == [page]
    assert "stale" in page.read_text()
    assert tables.update([page], is_check=False) == [page]
    assert page.read_text() == "Before.\n<!-- table: speed -->\n| fresh |\n<!-- end -->\nAfter.\n"
    assert tables.update([page], is_check=True) == []


def test_every_table_is_shown_on_a_page() -> None:
    shown = {name for page in tables.PAGES for name in tables.MARKER.findall(page.read_text())}
    assert shown == set(tables.TABLES)


def test_accuracy_is_mean_and_deviation_and_a_single_run_is_marked(results: Path) -> None:
    rows = [run_of("page24", seed, test_acc=acc) for seed, acc in enumerate((0.90, 0.92))]
    write(results / "accuracy.jsonl", [*rows, run_of("adam24", 0), run_of("page24", 5, **{"network.width": 3})])
    write(results / "time_to_accuracy.jsonl", [])
    page24, adam24 = body(recipe_accuracy.accuracy())
    assert page24[0] == "`page24`"
    assert page24[6:8] == ["2", "91.00% ± 1.41"]  # the narrow network is no run of the recipe
    assert adam24[6:8] == ["1 (single run)", "90.00%"]


def test_the_readme_shows_several_runs_only_and_names_the_rest(results: Path) -> None:
    write(results / "accuracy.jsonl", [run_of("page24", 0), run_of("page24", 1), run_of("adam24", 0)])
    write(results / "time_to_accuracy.jsonl", [run_of(name, s) for name in ("fast94", "airbench94") for s in (0, 1)])
    table = recipe_accuracy.steady_accuracy()
    assert [cells[0] for cells in body(table)] == ["`page24`"]
    missing = table.splitlines()[-1]
    assert "`adam24`" in missing
    assert "`demo`" in missing
    assert "94" not in missing


def test_an_earlier_version_goes_to_its_own_table_with_what_changed(results: Path) -> None:
    earlier = [run_of("fast94", seed, threads=2, **{"network.pad_patches": True}) for seed in (0, 1)]
    shadowed = run_of("fast94", 0, **{"network.pad_patches": True})  # today's version has run on this machine
    write(results / "time_to_accuracy.jsonl", [*earlier, shadowed, run_of("fast94", 7), run_of("fast94", 8)])
    (today,) = body(training_time.time_to_accuracy())
    assert today[-2:] == ["2", "2 cores, A CPU, 1 thread"]
    (before,) = body(training_time.earlier_recipes())
    assert before[-3:] == ["2", "2 cores, A CPU, 2 threads", "`network.pad_patches` True"]


def test_of_one_machine_only_the_runs_of_the_last_commit_count(results: Path) -> None:
    old, new = "b" * 40, "c" * 40
    rows = [run_of("fast94", 0, commit=old, seconds=900.0), run_of("fast94", 1, commit=new, seconds=100.0)]
    write(results / "time_to_accuracy.jsonl", [*rows, run_of("fast94", 2, commit=new + "+", seconds=200.0)])
    ((*_, n, _),) = (cells := body(training_time.time_to_accuracy()))
    assert (n, cells[0][2]) == ("2", "150")


def test_the_ratio_of_two_recipes_is_taken_pair_by_pair(results: Path) -> None:
    seconds = ((50.0, 100.0), (60.0, 100.0))
    rows = [
        run_of(name, seed, seconds=value, turns_s=[3, 5])
        for seed, pair in enumerate(seconds)
        for name, value in zip(("fast94", "airbench94"), pair, strict=True)
    ]
    write(results / "time_to_accuracy.jsonl", rows)
    ((*_, ratio, n, _),) = body(training_time.in_turns())
    assert (ratio, n) == ("0.55 ± 0.07", "2")


def test_the_faithfulness_of_maps_is_marked_as_a_single_run(results: Path) -> None:
    row = {"stage": "layer1", "method": "grad_cam", "deletion": 0.25, "insertion": 0.5}
    row |= dict.fromkeys(("energy_inside", "pointing", "randomization"))
    found = {"rows": [row], "recipe": {"name": "demo", "max_epochs": 7}, "num_images": 200, "test_acc": 0.915}
    (results / "trust_drawn.json").write_text(json.dumps({"results": found}))
    text = map_quality.trust_drawn()
    assert body(text) == [["layer1", "grad_cam", "0.250", "0.500"]]
    assert text.endswith("Means over 200 test images of a single run of `demo` (7 epochs, test accuracy 91.50%).")


def test_a_fields_old_and_new_value_are_found() -> None:
    measured = recipe_versions.recipe_of(run_of("fast94", 3, **{"network.width": 9}))
    assert recipe_versions.differences(measured) == {"network.width": (9, get_recipe("fast94").network.width)}
    assert recipe_versions.differences(measured, ["network.width"]) == {}


def test_the_sentence_above_the_headline_figure_agrees_with_it() -> None:
    runs = max(training_time.headline_runs(), key=len)
    readme = (ROOT / "README.md").read_text()
    found = re.search(r"reaches ([\d.]+) % on CIFAR-10, with test-time augmentation, in under (\w+) minutes", readme)
    assert found
    percent, minutes = found.groups()
    assert len(runs) == 10
    assert float(percent) <= 100 * sum(run["test_acc_tta"] for run in runs) / 10 < float(percent) + 0.5
    assert sum(run["seconds"] for run in runs) / 10 / 60 < {"three": 3, "four": 4, "five": 5}[minutes]


def test_the_readme_has_at_most_two_tables_of_six_rows() -> None:
    blocks = [block[0] for block in tables.BLOCK.finditer((ROOT / "README.md").read_text())]
    sizes = [len(body(block)) for block in blocks if "|---" in block]
    assert len(sizes) <= 2
    assert all(1 <= size <= 6 for size in sizes)


def test_the_table_of_onnx_files_takes_the_latest_line_of_each_format(results: Path) -> None:
    maps = {"grad_cam at residual3": {"largest": 2e-7}, "hires_cam at residual3": {"largest": 1.0}}
    line = {"num_bytes": 26_300_000, "accuracy_pytorch": 0.9471, "maps": maps}
    lines = [
        line | {"weights": weights, "accuracy": accuracy, "logits": {"largest": 1e-5, "num_images": 1000}}
        for weights, accuracy in (("float32", 0.5), ("int8", 0.9466), ("float32", 0.9471))
    ]
    write(results / "onnx_accuracy.jsonl", lines)
    rates = {name: {"median": rate, "n": 5} for name, rate in (("explain", 100.4), ("float32", 80.0), ("int8", 140.0))}
    speed = {"results": {"images_per_s": rates}, "hardware": MACHINE}
    (results / "onnx_speed.json").write_text(json.dumps(speed))
    assert body(onnx_files.onnx()) == [
        ["PyTorch, `explain`", "", "94.71%", "", "", "100"],
        ["ONNX Runtime, `float32`", "26.3", "94.71%", "1.0e-05", "2.0e-07", "80"],
        ["ONNX Runtime, `int8`", "26.3", "94.66%", "1.0e-05", "2.0e-07", "140"],
    ]
