"""Renders the tables in README and docs from the JSON in `results/`; `--check` only compares.

A table stands between `<!-- table: NAME -->` and `<!-- end -->`, and NAME is a function below.

    python benchmarks/tables.py [--check]
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from firstlight.files import write_atomic
from firstlight.recipes import get_recipe
from firstlight.recipes.config import Recipe, from_dict
from ingredients import VARIANTS
from record import NUM_CIFAR10, RESULTS, lower_bound, usual_precision

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SHOWN_OPTIMIZERS = {"adam": "Adam", "sgd": "SGD", "muon": "Muon"}
BLOCK = re.compile(r"(<!-- table: (?P<name>[a-z_]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def load(name: str) -> dict[str, Any]:
    return json.loads((RESULTS / f"{name}.json").read_text())


def load_lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(text) for text in (RESULTS / f"{name}.jsonl").read_text().splitlines()]


def hardware(entry: dict[str, Any]) -> str:
    """For instance "2 cores, AMD EPYC (avx512_bf16)"."""
    found = entry["hardware"]
    unit = f" ({found['cpu_bfloat16']})" if found["cpu_bfloat16"] else ""
    return found["gpu"] or f"{found['cpu_cores']} cores, {found['cpu']}{unit}"


def with_threads(entry: dict[str, Any]) -> str:
    """For instance "2 cores, AMD EPYC (avx512_bf16), 1 thread"."""
    threads = entry["hardware"]["threads"]
    return f"{hardware(entry)}, {threads} thread{'s' if threads > 1 else ''}"


def is_present(line: dict[str, Any]) -> bool:
    """Whether a line was measured with a recipe as it is now, whatever the seed."""
    recipe = from_dict(Recipe, line["recipe"])
    return replace(recipe, seed=0) == get_recipe(recipe.name)


def accuracy() -> str:
    """Mean test accuracy of every recipe as it is; `accuracy.jsonl` has older and shorter ones, too."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for line in filter(is_present, load_lines("accuracy")):
        groups[line["recipe"]["name"], hardware(line)].append(line)
    rows = [
        "| recipe | data | optimizer | epochs | held out | precision | n | single view | tta | time | hardware |",
        "|---|---|---|---:|---:|---|---:|---:|---:|---:|---|",
    ]
    for (name, where), lines in groups.items():
        recipe = get_recipe(name)
        single, averaged = (mean_percent(lines, each) for each in ("test_acc", "test_acc_tta"))
        minutes = statistics.fmean(line["train_s"] for line in lines) / 60
        method = SHOWN_OPTIMIZERS[recipe.optimizer.name]
        how = f"{recipe.data} | {method} | {recipe.max_epochs} | {recipe.num_val:,}"
        what = f"{name} | {how} | {precisions(lines)} | {len(lines)}"
        rows.append(f"| {what} | {single} | {averaged} | {minutes:.1f} min | {where} |")
    return "\n".join(rows)


def precisions(lines: list[dict[str, Any]]) -> str:
    """The precision of all lines, or how many had each."""
    counts = Counter(line.get("precision") or usual_precision(line) for line in lines)
    return ", ".join(f"{count} of {name}" if len(counts) > 1 else name for name, count in counts.items())


def ingredients(of: str) -> str:
    """What a recipe loses without each ingredient, in points of validation accuracy, over the seeds that both have.

    Of the recipe as it was when it was last measured whole; the note says in what it differs now.
    """
    lines = [line for line in load_lines("ingredients") if line["of"] == of]
    measured = from_dict(Recipe, [line for line in lines if line["variant"] == "whole"][-1]["recipe"])
    runs: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
    for line in lines:
        if is_variant(line, measured):
            runs[line["variant"]][line["recipe"]["seed"]] = line
    whole = runs.pop("whole")
    rows = [f"| {of} | points, single view | points, tta | time | n |", "|---|---:|---:|---:|---:|"]
    for variant, found in runs.items():
        pairs = [(line, whole[seed]) for seed, line in found.items() if seed in whole]
        if not pairs:
            continue
        points = [
            with_error([100 * (line[name] - other[name]) for line, other in pairs])
            for name in ("val_acc", "val_acc_tta")
        ]
        times = statistics.fmean(line["cpu_s"] / other["cpu_s"] for line, other in pairs)
        name = ("without " if variant.startswith("no_") else "with ") + variant.removeprefix("no_").replace("_", " ")
        rows.append(f"| {name} | {points[0]} | {points[1]} | x {times:.2f} | {len(pairs)} |")
    accuracy = mean_percent(list(whole.values()), "val_acc"), mean_percent(list(whole.values()), "val_acc_tta")
    note = (
        f"Differences of validation accuracy, mean and its standard error over paired seeds; the whole recipe has "
        f"{accuracy[0]} single view, {accuracy[1]} tta. Width {measured.network.width}, "
        f"{NUM_CIFAR10 - measured.num_val:,} training images, {measured.max_epochs} epochs: small, to rank them."
        f"{changed_since(measured, get_recipe(of))}"
    )
    return "\n".join([*rows, "", note])


def is_variant(line: dict[str, Any], measured: Recipe) -> bool:
    """Whether a line was measured with a variant of the recipe as `measured`, whatever the seed."""
    found = from_dict(Recipe, line["recipe"])
    change = VARIANTS[line["of"]].get(line["variant"])
    return change is not None and change(replace(measured, seed=found.seed)) == found


def changed_since(measured: Recipe, present: Recipe) -> str:
    """Say in which fields a recipe differs from what was measured, but for those that make a run small."""
    of_size = {"name", "seed", "num_val", "max_epochs", "network.width"}
    then, now = measured.flat(), present.flat()
    changes = [
        f"`{name}` {then[name]} (now {now[name]})"
        for name in now
        if name not in of_size and name in then and then[name] != now[name]
    ]
    return f" The recipe had {', '.join(changes)} then." if changes else ""


def with_error(values: list[float]) -> str:
    """Mean and standard error of a few numbers."""
    error = f" ± {statistics.stdev(values) / len(values) ** 0.5:.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):+.2f}{error}"


def ingredients_page() -> str:
    return ingredients("page24")


def ingredients_fast() -> str:
    return ingredients("fast94")


def time_to_accuracy() -> str:
    """Seconds and accuracy of the speed recipes, on the clock of the speed records.

    Of the same hardware the last commit counts, whose runs were made alternately. Recipes that have changed since are
    marked, and the note says how; those that had other epochs are left out.
    """
    written = load_lines("time_to_accuracy")
    measured = [
        each for each in written if each["recipe"]["max_epochs"] == get_recipe(each["recipe"]["name"]).max_epochs
    ]
    groups = of_last_commit(measured, lambda line: (line["recipe"]["name"], with_threads(line)))
    rows = [
        "| recipe | epochs | seconds | views | tta | 95 % sure above | single view | n | hardware |",
        "|---|---:|---:|---|---:|---:|---:|---:|---|",
    ]
    marks = Marks()
    for (name, _), lines in groups.items():
        recipe = from_dict(Recipe, lines[-1]["recipe"])
        seconds = statistics.fmean(line["seconds"] for line in lines)
        what = f"{name}{marks.of(recipe)} | {recipe.max_epochs} | {seconds:,.0f} | `{recipe.views}`"
        rows.append(f"| {what} | {accuracies(lines)} | {len(lines)} | {with_threads(lines[-1])} |")
    return "\n".join([*rows, *marks.notes()])


def in_turns() -> str:
    """The seconds of two recipes side by side on the same cores, one at a time in turns of seconds, pair by pair.

    Of the same hardware the last commit counts. Lines come two by two, as they were written.
    """
    groups = of_last_commit([line for line in load_lines("time_to_accuracy") if "turns_s" in line], with_threads)
    rows = [
        "| recipe | seconds | beside | seconds | ratio of the seconds, pair by pair | n | hardware |",
        "|---|---:|---|---:|---:|---:|---|",
    ]
    marks = Marks()
    for where, measured in groups.items():
        pairs = list(zip(measured[::2], measured[1::2], strict=True))
        names = [line["recipe"]["name"] + marks.of(from_dict(Recipe, line["recipe"])) for line in pairs[0]]
        seconds = [statistics.fmean(line["seconds"] for line in lines) for lines in zip(*pairs, strict=True)]
        ratios = [ours["seconds"] / theirs["seconds"] for ours, theirs in pairs]
        spread = f" ± {statistics.stdev(ratios):.2f}" if len(ratios) > 1 else ""
        both = " | ".join(f"{name} | {each:,.0f}" for name, each in zip(names, seconds, strict=True))
        rows.append(f"| {both} | {statistics.fmean(ratios):.2f}{spread} | {len(pairs)} | {where} |")
    return "\n".join([*rows, *marks.notes()])


def of_last_commit(
    lines: list[dict[str, Any]], key: Callable[[dict[str, Any]], Any]
) -> dict[Any, list[dict[str, Any]]]:
    """Return lines by what they have in common; of each group only those of the commit that comes last."""
    groups: dict[Any, list[dict[str, Any]]] = {}
    for line in lines:
        group = groups.setdefault(key(line), [])
        if group and commit(group[-1]) != commit(line):
            group.clear()
        group.append(line)
    return groups


class Marks:
    """Marks of recipes that were measured before they changed, but for the views, which have a column."""

    def __init__(self) -> None:
        self._notes: dict[str, str] = {}

    def of(self, recipe: Recipe) -> str:
        """Return the mark of a recipe as it was measured; nothing if it is as it was."""
        present = get_recipe(recipe.name)
        alike = replace(present, views=recipe.views, views_margin=recipe.views_margin)
        changes = changed_since(recipe, alike)
        if not changes:
            return ""
        return self._notes.setdefault(changes.strip(), "\\*" * (len(self._notes) + 1))

    def notes(self) -> list[str]:
        """Return what to write below the table."""
        return [line for change, mark in self._notes.items() for line in ("", f"{mark} {change}")]


def on_gpu() -> str:
    """Accuracy of the speed recipes on a GPU."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for line in load_lines("time_to_accuracy_gpu"):
        groups[line["recipe"]["name"], line["steps"], line["hardware"]["gpu"]].append(line)
    rows = [
        "| recipe | steps | tta | 95 % sure above | single view | n | hardware |",
        "|---|---|---:|---:|---:|---:|---|",
    ]
    marks = Marks()
    for (name, steps, gpu), lines in groups.items():
        what = f"{name}{marks.of(from_dict(Recipe, lines[-1]['recipe']))} | {steps}"
        rows.append(f"| {what} | {accuracies(lines)} | {len(lines)} | {gpu} |")
    return "\n".join([*rows, *marks.notes()])


def accuracies(lines: list[dict[str, Any]]) -> str:
    """Return the columns tta, what it exceeds with 95 % confidence, and single view."""
    averaged = [line["test_acc_tta"] for line in lines]
    bound = f"{lower_bound(averaged):.2%}" if len(lines) > 1 else "-"
    return f"{mean_percent(lines, 'test_acc_tta')} | {bound} | {mean_percent(lines, 'test_acc')}"


def commit(line: dict[str, Any]) -> str:
    """Return the commit of a measurement, whether or not results were added since."""
    return str(line["commit"]).removesuffix("+")


def mean_percent(lines: list[dict[str, Any]], name: str) -> str:
    """Mean and standard deviation of a share over runs, in percent; a dash where it was not measured."""
    values = [line[name] for line in lines if line.get(name) is not None]
    if not values:
        return "-"
    return f"{statistics.fmean(values):.2%}" + (f" ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else "")


def speed() -> str:
    """What was measured about speed, each with its n."""
    throughput, overhead, batches = map(load, ("throughput", "overhead", "batches"))
    startup, reading, amx = map(load, ("startup", "reading", "amx_bf16"))
    measured = [
        (throughput, "training ResNet9 through Lightning", "firstlight", "{:.0f} images/s"),
        (throughput, "the plain way: float32, NCHW, per-image transforms", "plain", "{:.0f} images/s"),
        (throughput, "the first over the second", "ratio", "{:.2f}"),
        (
            overhead,
            "what Lightning adds to a step, over a bare loop of the same parts",
            "added_by_lightning",
            "{:.1f} ms",
        ),
        (amx, "training ResNet9 in bfloat16, bare loop, our convolutions by AMX tiles", "ours", "{:.0f} images/s"),
        (amx, "the same with PyTorch's convolutions", "direct", "{:.0f} images/s"),
        (amx, "the first over the second", "ratio", "{:.2f}"),
        (batches, "making a batch, as a share of a step", "share", "{:.1%}"),
        (startup, "`firstlight --help`", "help_s", "{:.2f} s"),
        (startup, "`import firstlight`", "import_s", "{:.3f} s"),
        (reading, "reading and verifying 60,000 images, binary version", "cifar-10-batches-bin", "{:.2f} s"),
        (reading, "the same, Python version", "cifar-10-batches-py", "{:.2f} s"),
    ]
    rows = ["| what | median | n | hardware |", "|---|---:|---:|---|"]
    for entry, what, name, form in measured:
        found = entry["results"][name]
        rows.append(f"| {what} | {form.format(found['median'])} | {found['n']} | {hardware(entry)} |")
    return "\n".join(rows)


def explain_speed() -> str:
    """Maps a second of Grad-CAM at the last stage, here and in captum."""
    measured = {
        "ours fp32": "firstlight, float32: the predicted class, which the same pass finds",
        "captum, predicted": "captum, float32: the predicted class, after a pass that finds it",
        "captum": "captum, float32: a class that is known beforehand",
        "captum, our convolutions": "captum, float32: the same with our convolutions",
        "ours bf16": "firstlight, bfloat16: the predicted class",
    }
    rows = ["| Grad-CAM at `residual3` | images/s, median | n | hardware |", "|---|---:|---:|---|"]
    for entry in (load("explain_speed_fp32"), load("explain_speed")):
        found = entry["results"]["images_per_s"]
        for name, what in measured.items():
            if name in found:
                rows.append(f"| {what} | {found[name]['median']:.0f} | {found[name]['n']} | {hardware(entry)} |")
    return "\n".join(rows)


def app() -> str:
    """What one person waits for, and what twenty at once do."""
    alone, crowd = load("app_latency")["results"], load("app_load")["results"]
    rows = ["| one person at a time | median | longest | n |", "|---|---:|---:|---:|"]
    for name, found in alone.items():
        if isinstance(found, dict):
            rows.append(f"| {name} | {found['median']:.0f} ms | {max(found['values']):.0f} ms | {found['n']} |")
    waits, memory = crowd["latency_s"], crowd["server_memory_mb"]
    rows += [
        "",
        f"| {crowd['num_clients']} people at once for {crowd['duration_s']:.0f} s | |",
        "|---|---:|",
        f"| requests answered | {crowd['num_requests']}, {crowd['requests_per_s']:.1f} in a second |",
        f"| errors | {crowd['num_errors']} |",
        f"| seconds of a request: median, 95%, 99% | {waits['p50']:.2f}, {waits['p95']:.2f}, {waits['p99']:.2f} |",
        f"| server's memory before and after | {memory['before']:.0f} MB, {memory['after']:.0f} MB |",
        f"| uploads left on disk 80 s later | {crowd['uploads_left_on_disk']} |",
    ]
    busy = f"{alone['load_average']:.1f} and {crowd['load_average_before_1_min']:.1f}"
    where = f"On {hardware(load('app_load'))}. The load average before the two measurements was {busy}; idle is 0."
    return "\n".join([*rows, "", where])


def trust(name: str) -> str:
    """The table of how far maps can be trusted."""
    found = load(name)["results"]
    fields = ("deletion", "insertion", "energy_inside", "pointing", "randomization")
    shown = [field for field in fields if found["rows"][0][field] is not None]
    heads = [field.replace("_", " ") + (" ↓" if field in ("deletion", "randomization") else " ↑") for field in shown]
    rows = ["| stage | method | " + " | ".join(heads) + " |", "|---|---|" + "---:|" * len(shown)]
    for row in found["rows"]:
        cells = [row["stage"], row["method"], *(f"{row[field]:.3f}" for field in shown)]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def trust_drawn() -> str:
    return trust("trust_drawn")


def trust_cifar() -> str:
    return trust("trust_cifar10")


def checkpoints() -> str:
    """What a checkpoint costs."""
    entry = load("checkpoint")
    found = entry["results"]
    cost, share = found["one_checkpoint_s"], found["share_of_training_time"]
    num_checkpoints = found["num_checkpoints"]
    rows = [
        "| checkpoints of ResNet9 with Adam's state | | n |",
        "|---|---:|---:|",
        f"| size of one | {found['size_mb']:.0f} MB | 1 |",
        f"| writing one, median | {cost['median']:.2f} s | {cost['n']} |",
        f"| their share of {found['train_s'] / 60:.0f} minutes of training | {share:.2%} | {num_checkpoints} |",
    ]
    return "\n".join([*rows, "", f"On {hardware(entry)}. {found['note']}"])


def devices() -> str:
    """Seconds per epoch on one and on two processes."""
    entry = load("ddp")
    found = entry["results"]
    rows = ["| seconds for an epoch of 2,048 images, ResNet9 | fastest | median | n |", "|---|---:|---:|---:|"]
    for name, what in (("one_process", "one process"), ("two_processes", "two processes")):
        numbers = found[f"{name}_s"]
        fastest = min(numbers["values"])
        rows.append(
            f"| {what}, threads: {found['threads'][name]} | {fastest:.1f} | {numbers['median']:.1f} | {numbers['n']} |"
        )
    rows.append(f"| the second over the first | {found['two_over_one_fastest']:.2f} | {found['two_over_one']:.2f} | |")
    return "\n".join([*rows, "", f"On {hardware(entry)}. {found['note']}"])


TABLES = {
    "accuracy": accuracy,
    "checkpoints": checkpoints,
    "devices": devices,
    "time_to_accuracy": time_to_accuracy,
    "in_turns": in_turns,
    "on_gpu": on_gpu,
    "ingredients_page": ingredients_page,
    "ingredients_fast": ingredients_fast,
    "speed": speed,
    "explain_speed": explain_speed,
    "app": app,
    "trust_drawn": trust_drawn,
    "trust_cifar": trust_cifar,
}


def render(page: str) -> str:
    """Return the page with every table made anew."""
    return BLOCK.sub(lambda match: f"{match[1]}{TABLES[match['name']]()}\n{match[3]}", page)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if a page is out of date")
    options = parser.parse_args()
    stale = [page for page in PAGES if render(page.read_text()) != page.read_text()]
    for page in stale:
        print(f"{page.relative_to(ROOT)}: {'out of date' if options.check else 'rendered'}")
        if not options.check:
            write_atomic(page, render(page.read_text()))
    sys.exit(1 if options.check and stale else 0)


if __name__ == "__main__":
    main()
