"""Test whether a native kernel or bfloat16 costs accuracy, by paired trainings with and without it.

Every seed is trained twice, with the kernel and without it, or in bfloat16 and in float32. The difference of the two
validation accuracies is averaged over seeds until its standard error is small enough. Each training appends a row to
`results/equivalence.jsonl`. A repeated command continues: trainings that have a row from the same machine are not
repeated, and the comparisons of all kernels share the trainings with every kernel enabled. The test split is not used.

    python benchmarks/equivalence.py winograd --recipe page24 --data_dir DATA_DIR
    python benchmarks/equivalence.py bfloat16 --recipe demo
    python benchmarks/equivalence.py gelu --recipe fast94 --data_dir DATA_DIR --max_seeds 20
    python benchmarks/equivalence.py winograd --tiny
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch.nn import functional as F

from firstlight.cli.quiet import quiet_lightning
from firstlight.evaluation.student_t import quantile
from firstlight.evaluation.tta_views import logits_of
from firstlight.files import write_atomic
from firstlight.native import cpu
from firstlight.native.dispatch import DISABLE_KERNELS, KERNELS
from firstlight.recipes import get_recipe
from firstlight.recipes.config import Recipe
from firstlight.runs.environment import describe_environment
from firstlight.training.build import build
from firstlight.training.precision import default_precision
from firstlight.training.trainer import SILENT, Trainer
from record import NUM_CIFAR10, RESULTS, command_line

BFLOAT16 = "bfloat16"  # the change from float32 to bfloat16; every other change is the name of a kernel
WIDTHS = {"page24": 16, "adam24": 16, "demo": 16, "fast94": 32}  # narrow, so that many seeds fit into a night
NUM_TRAIN = 45_000  # of CIFAR-10; the other training images are the validation images
LOSS_LIMIT = 0.1  # largest loss of accuracy in points for which a change counts as harmless


@dataclass(frozen=True)
class Setting:
    """The precision and the disabled kernels of one training of a pair."""

    precision: str
    disabled: tuple[str, ...] = ()


@dataclass(frozen=True)
class Summary:
    """The paired differences of accuracy in points: with the change minus without it.

    Attributes:
        mean: Mean difference; negative if the change costs accuracy.
        standard_error: Its standard error, infinite for fewer than two pairs.
        low: Lower end of the 95 % confidence interval of the mean.
        high: Upper end of the interval.
        n: Number of pairs.
    """

    mean: float
    standard_error: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, differences: Sequence[float]) -> Summary:
        """Summarize differences by Student's t."""
        n = len(differences)
        mean = statistics.fmean(differences) if n else math.nan
        if n < 2:
            return cls(mean, math.inf, -math.inf, math.inf, n)
        error = statistics.stdev(differences) / math.sqrt(n)
        margin = quantile(0.975, n - 1) * error
        return cls(mean, error, mean - margin, mean + margin, n)

    @property
    def verdict(self) -> str:
        """Whether the interval excludes or proves a loss of more than `LOSS_LIMIT`, in a sentence."""
        if self.low > -LOSS_LIMIT:
            return f"harmless: it costs less than {LOSS_LIMIT} points"
        if self.high < -LOSS_LIMIT:
            return f"harmful: it costs more than {LOSS_LIMIT} points"
        return f"undecided: a loss of more than {LOSS_LIMIT} points is neither ruled out nor proven"

    def __str__(self) -> str:
        interval = f"{self.low:+.3f} .. {self.high:+.3f}"
        return (
            f"difference {self.mean:+.3f} points, standard error {self.standard_error:.3f}, 95 % {interval}, n={self.n}"
        )


def settings_of(change: str, precision: str) -> tuple[Setting, Setting]:
    """Return the settings with and without a change: a kernel, or bfloat16 instead of float32."""
    if change == BFLOAT16:
        return Setting("bf16-mixed"), Setting("32-true")
    return Setting(precision), Setting(precision, (change,))


def sized(name: str, seed: int, *, is_tiny: bool) -> Recipe:
    """Return a recipe with the width of `WIDTHS`; a tiny one trains for seconds on the embedded data."""
    recipe = get_recipe(name)
    network: Any = recipe.network  # of a kind that has a width
    network = replace(network, width=2 if is_tiny else WIDTHS[name])
    recipe = replace(recipe, name="equivalence", seed=seed, network=network)
    if is_tiny:
        return replace(recipe, data="drawn", num_val=200, max_epochs=1, batch_size=500)
    return recipe if recipe.data != "cifar10" else replace(recipe, num_val=NUM_CIFAR10 - NUM_TRAIN)


@contextmanager
def disabled(kernels: Sequence[str]) -> Iterator[None]:
    """Disable kernels within the block."""
    before = os.environ.get(DISABLE_KERNELS)
    os.environ[DISABLE_KERNELS] = ",".join(kernels)
    try:
        yield
    finally:
        if before is None:
            del os.environ[DISABLE_KERNELS]
        else:
            os.environ[DISABLE_KERNELS] = before


def train(recipe: Recipe, setting: Setting, options: argparse.Namespace) -> dict[str, float]:
    """Train, and return accuracy and loss on the validation images and the CPU seconds of the training."""
    with disabled(setting.disabled):
        module, data = build(recipe, options.data_dir)
        precision: Any = setting.precision
        limits: dict[str, Any] = {"limit_train_batches": 2 if options.tiny else 1.0, "limit_val_batches": 0}
        trainer = Trainer(max_epochs=recipe.max_epochs, precision=precision, **limits, **SILENT)
        started_s = time.process_time()
        trainer.fit(module, datamodule=data)
        cpu_s = time.process_time() - started_s
        module.eval()
        logits, labels = logits_of(module.network, data.val.images), data.val.labels
    accuracy = float((logits.argmax(dim=1) == labels).double().mean())
    return {"val_acc": accuracy, "val_loss": float(F.cross_entropy(logits, labels)), "cpu_s": cpu_s}


class Rows:
    """The rows of a JSON lines file, one for each training; `add` appends to the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        self._rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
        self._environment = json.loads(json.dumps(describe_environment()))

    def find(self, recipe: Recipe, setting: Setting) -> dict[str, Any] | None:
        """Return the row of a training on this machine with the same version of PyTorch, if there is one."""
        wanted = self._key(self._row(recipe, setting))
        return next((row for row in self._rows if self._key(row) == wanted), None)

    def add(self, recipe: Recipe, setting: Setting, results: dict[str, float]) -> dict[str, Any]:
        """Append the row of a training to the file, and return it."""
        row = self._row(recipe, setting) | results | {"command": command_line()}
        self._rows.append(row)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        before = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        write_atomic(self.path, before + json.dumps(row) + "\n")
        return row

    def _row(self, recipe: Recipe, setting: Setting) -> dict[str, Any]:
        setting_row = {"precision": setting.precision, "disabled_kernels": list(setting.disabled)}
        return {"recipe": json.loads(json.dumps(recipe.to_dict()))} | setting_row | self._environment

    @staticmethod
    def _key(row: dict[str, Any]) -> tuple[Any, ...]:
        hardware = row["hardware"]
        machine = hardware["cpu"], hardware["cpu_bfloat16"], hardware["threads"], row["versions"]["torch"]
        return row["recipe"], row["precision"], row["disabled_kernels"], machine


def compare(
    rows: Rows, recipe_of: Callable[[int], Recipe], pair: tuple[Setting, Setting], options: argparse.Namespace
) -> Summary:
    """Train pairs until the standard error is below the limit, or for all seeds, and return the summary."""
    differences: list[float] = []
    summary = Summary.of(differences)
    for seed in range(options.max_seeds):
        recipe = recipe_of(seed)
        found = []
        for setting in pair:
            row = rows.find(recipe, setting)
            if row is None:
                if options.no_training:
                    return summary
                row = rows.add(recipe, setting, train(recipe, setting, options))
            found.append(row["val_acc"])
        differences.append(100 * (found[0] - found[1]))
        summary = Summary.of(differences)
        print(f"seed {seed}  with {found[0]:.4f}  without {found[1]:.4f}  {summary}", flush=True)
        if summary.n >= options.min_seeds and summary.standard_error < options.max_standard_error:
            break
    return summary


def main(arguments: Sequence[str] | None = None) -> Summary:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("change", choices=[*KERNELS, BFLOAT16], help="a kernel, or bfloat16 instead of float32")
    parser.add_argument("--recipe", choices=WIDTHS, default="demo")
    parser.add_argument("--data_dir", default="data")
    parser.add_argument("--precision", help="precision of both trainings; by default the recipe's on this machine")
    parser.add_argument("--min_seeds", type=int, default=5)
    parser.add_argument("--max_seeds", type=int, default=200)
    parser.add_argument(
        "--max_standard_error", type=float, default=0.1, help="train no more seeds below this error, in points"
    )
    parser.add_argument("--rows", type=Path, help="the file of all trainings; results/equivalence.jsonl by default")
    parser.add_argument("--no_training", action="store_true", help="summarize the trainings that the file has")
    parser.add_argument("--tiny", action="store_true", help="train two pairs of tiny networks, to try the script")
    options = parser.parse_args(arguments)
    if options.change == "amx" and not cpu.has_amx():
        parser.error("this CPU has no AMX: both trainings would be the same")
    if options.tiny:
        options.min_seeds, options.max_seeds = 2, 2
        options.rows = options.rows or Path(tempfile.mkdtemp()) / "equivalence.jsonl"
    quiet_lightning()
    pair = settings_of(options.change, options.precision or default_precision("cpu"))
    rows = Rows(options.rows or RESULTS / "equivalence.jsonl")
    summary = compare(rows, lambda seed: sized(options.recipe, seed, is_tiny=options.tiny), pair, options)
    print(f"{options.change}, {options.recipe}: {summary}: {summary.verdict}")
    return summary


if __name__ == "__main__":
    main()
