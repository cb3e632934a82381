"""`firstlight summary`: three formats of one table, the diagram, and the choice of the network."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from firstlight.cli import main
from reference.made_run import make_run

PARAMETERS, MACS = 6_573_120, 379_261_952  # of the exercise's network: SPEC.md, section 2


def printed(capsys: pytest.CaptureFixture[str], *asked: str) -> str:
    assert main(["summary", *asked]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def numbers(line: str) -> list[int]:
    return [int(text.replace(",", "")) for text in re.findall(r"\d[\d,]*", line)]


def test_table_markdown_and_json_agree_and_their_rows_add_up(capsys: pytest.CaptureFixture[str]) -> None:
    read = json.loads(printed(capsys, "--format", "json"))
    assert (read["parameters"], read["macs"]) == (PARAMETERS, MACS)
    layers = [(stage["name"], layer) for stage in read["stages"] for layer in stage["layers"]]
    assert sum(layer["parameters"] for _, layer in layers) == PARAMETERS
    assert sum(layer["macs"] for _, layer in layers) == MACS

    lines = [line for line in printed(capsys, "--format", "markdown").splitlines() if line.startswith("|")]
    cells = [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in lines]
    assert len({len(row) for row in cells}) == 1
    assert [numbers(cell) for cell in cells[-1][-2:]] == [[PARAMETERS], [MACS]]
    rows = cells[2:-1]
    assert len(rows) == len(layers)
    for row, (_, layer) in zip(rows, layers, strict=True):
        assert (numbers(row[-2]) or [0], numbers(row[-1]) or [0]) == ([layer["parameters"]], [layer["macs"]])
        assert row[3] == "x".join(map(str, layer["output"]))
    assert [row[0] for row in rows if row[0]] == [stage["name"] for stage in read["stages"]]

    table = [line for line in printed(capsys).splitlines() if line.strip()]
    totals = [numbers(line) for line in table if line.split()[0] == "total"]
    assert totals == [[PARAMETERS, MACS]]
    assert all(len(line) <= 80 for line in table)


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_diagram_draws_the_network_beside_the_table(
    tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "new" / f"network.{suffix}"
    assert "total" in printed(capsys, "--recipe", "demo", "--diagram", str(path))
    if suffix == "svg":
        assert ElementTree.parse(path).getroot().tag.endswith("svg")
        assert {"prep", "residual3", "head"} <= set(re.findall(r"<!-- (.*?) -->", path.read_text()))
    else:
        with Image.open(path) as image:
            image.load()
            assert image.width > image.height > 300
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_run_is_summarized_as_it_was_trained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path / "run")
    read = json.loads(printed(capsys, "--run", str(run.path), "--format", "json"))
    assert read["size_px"] == 16
    assert read["stages"][-1]["layers"][-1]["output"] == [4]
    assert read["parameters"] == sum(each.numel() for each in run.network.parameters())


def test_image_size_and_number_of_classes_are_used(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--recipe", "demo", "--image_size", "64", "--num_classes", "7", "--format", "json"]
    read = json.loads(printed(capsys, *asked))
    assert read["stages"][0]["layers"][0]["output"] == [3, 64, 64]
    assert read["stages"][-1]["layers"][-1]["output"] == [7]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("--diagram network.txt", "--diagram network.txt: the name must end in .png, .svg, .pdf"),
        ("--recipe nix", "no recipe is called 'nix': choose one of demo, small, adam24"),
        ("--run /nowhere", "is not a run"),
        ("--image_size 7", "--image_size must be 8 or more"),
        ("--num_classes 0", "--num_classes 1 or more"),
        ("--format pdf", "--format"),
    ],
)
def test_errors_of_the_user_are_one_line_and_status_2(
    asked: str, says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["summary", *asked.split()]) == 2
    captured = capsys.readouterr()
    assert says in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == []
