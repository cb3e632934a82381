"""Seconds and accuracy of the speed recipes, alternately, on the clock of the speed records.

The clock runs over what the records count: taking the whitening filters from the images, training with its
augmentation, and the final pass over the test images with all views. It stands still while data are read, networks
built, steps compiled, and Lightning sets up. The cold time of the whole process is given beside it: what a
user waits for. One JSON line a seed; lines add up in `results/time_to_accuracy.jsonl`,
those of a GPU in `results/time_to_accuracy_gpu.jsonl`.

    python benchmarks/time_to_accuracy.py --recipes airbench94 fast94 --seeds 0 1 2 --data_dir DATA_DIR

Where a machine is shared, two runs one after the other have different minutes of it. With `--turns_s 4 6` two recipes
run side by side, one at a time, in turns of so many seconds; the clock of each stands still while the other runs.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import get_args

import pytorch_lightning as pl
import torch

from firstlight.cli.quiet import quiet_lightning
from firstlight.data.batches import Batches, to_unit
from firstlight.evaluation.tta_views import averaged_logits
from firstlight.layers.conv3x3 import Conv3x3
from firstlight.networks import build_network
from firstlight.recipes import get_recipe
from firstlight.recipes.config import Recipe
from firstlight.runs.environment import describe_environment
from firstlight.runs.options import Steps
from firstlight.training.callbacks.step_clock import finished_s
from firstlight.training.data_module import ImageData
from firstlight.training.initialization import NUM_INIT_IMAGES
from firstlight.training.module import Classifier
from firstlight.training.precision import default_precision
from firstlight.training.trainer import SILENT, Trainer
from record import append_line, lower_bound
from turns import Turns, in_turns

STARTED_S = time.perf_counter()
TEST_BATCH_SIZE = 2000


class Clock(pl.Callback):
    """Runs while Lightning trains."""

    seconds = 0.0
    _started_s = 0.0

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch == 0:  # what is compiled and recorded before does not count
            self._started_s = finished_s(trainer.strategy.root_device) - self._turns.waited_s

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.seconds = finished_s(trainer.strategy.root_device) - self._turns.waited_s - self._started_s


def run_once(
    recipe: Recipe, data: ImageData, *, steps: Steps = "recorded", turns: Turns | None = None
) -> dict[str, float]:
    """Train and test once; seconds on the clock, and accuracies on the test split."""
    turns = turns or Turns()
    pl.seed_everything(recipe.seed, verbose=False)
    network = build_network(len(data.train.class_names), recipe.network, *data.train.mean_and_std)
    clock = Clock(turns)
    trainer = Trainer(
        max_epochs=recipe.max_epochs, limit_val_batches=0, callbacks=[clock, turns], log_every_n_steps=50, **SILENT
    )
    device = trainer.strategy.root_device
    started_s = finished_s(device)
    network.to(device).init_from_data(data.train.images[:NUM_INIT_IMAGES].to(device))
    adopt_s = finished_s(device) - started_s
    module = Classifier(network, recipe, steps)
    data.recipe, data.trainer = recipe, trainer
    batches = data.train_dataloader()
    batches.send()
    trainer.fit(module, batches)
    module.to(device).eval()
    images, labels = data.test.images.to(device), data.test.labels.to(device)
    started_s = finished_s(device)
    with torch.inference_mode(), trainer.precision_plugin.forward_context():
        logits = torch.cat(
            [
                averaged_logits(network, to_unit(part), recipe.views, margin=recipe.views_margin)
                for part in images.split(TEST_BATCH_SIZE)
            ]
        )
        tta = (logits.argmax(dim=1) == labels).double().mean()
        test_s = finished_s(device) - started_s
        single = torch.cat([network(to_unit(part)) for part in images.split(TEST_BATCH_SIZE)])
    return {
        "seconds": adopt_s + clock.seconds + test_s,
        "train_s": clock.seconds,
        "test_s": test_s,
        "test_acc_tta": float(tta),
        "test_acc": float((single.argmax(dim=1) == labels).double().mean()),
    }


def run_in_turns(job: tuple[Recipe, str, Steps], turns: Turns) -> dict[str, float]:
    """Read the images, and run once, while another process runs in between."""
    quiet_lightning()
    recipe, data_dir, steps = job
    return run_once(recipe, load_data(recipe, data_dir), steps=steps, turns=turns)


def convolutions() -> str:
    """Say how a wide layer is convolved when it trains on this machine: "amx", "winograd" or "pytorch"."""
    if torch.cuda.is_available():
        return "pytorch"
    with torch.autocast("cpu", torch.bfloat16, enabled=default_precision("cpu") == "bf16-mixed"):
        algorithm = Conv3x3(64, 64).algorithm(torch.empty(512, 64, 16, 16))
    return "pytorch" if algorithm is None else algorithm.name


def load_data(recipe: Recipe, data_dir: str) -> ImageData:
    """Read the images before any clock runs."""
    data = ImageData(recipe, data_dir)
    data.setup("fit")
    data.setup("test")
    assert isinstance(data.test_dataloader(), Batches)
    return data


def summary(name: str, found: list[dict[str, float]]) -> str:
    """Say in a line what the runs of a recipe came to."""
    accuracies = [each["test_acc_tta"] for each in found]
    bound = f", above {lower_bound(accuracies):.2%} with 95 % confidence" if len(found) > 1 else ""
    seconds = statistics.fmean(each["seconds"] for each in found)
    return f"{name}, n={len(found)}: {statistics.fmean(accuracies):.2%} with tta{bound}, in {seconds:.2f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="+", default=["airbench94", "fast94"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--data_dir", default="data")
    parser.add_argument("--steps", default="recorded", choices=get_args(Steps), help="on a GPU; see `firstlight fit`")
    parser.add_argument("--warm_up", action="store_true", help="run every recipe once before, and leave that out")
    parser.add_argument("--max_epochs", type=int, help="fewer, to try it out: nothing is written")
    parser.add_argument("--turns_s", type=float, nargs=2, help="two recipes side by side, in turns of so many seconds")
    options = parser.parse_args()
    if options.turns_s and len(options.recipes) != len(options.turns_s):
        parser.error("--turns_s is for two recipes")
    if options.turns_s and options.warm_up:
        parser.error("--turns_s starts a process for every run, which --warm_up cannot reach")
    quiet_lightning()
    recipes = [get_recipe(name) for name in options.recipes]
    if options.max_epochs:
        recipes = [replace(recipe, max_epochs=options.max_epochs) for recipe in recipes]
    here = [] if options.turns_s else recipes  # in turns each process reads its own
    data = {recipe.name: load_data(recipe, options.data_dir) for recipe in here}
    found: dict[str, list[dict[str, float]]] = {recipe.name: [] for recipe in recipes}
    is_first = True
    if options.warm_up:
        for recipe in recipes:
            run_once(recipe, data[recipe.name], steps=options.steps)
    for seed in options.seeds:
        seeded = [replace(recipe, seed=seed) for recipe in recipes]
        measured: Iterable[dict[str, float]]
        if options.turns_s:
            jobs = [(recipe, options.data_dir, options.steps) for recipe in seeded]
            measured = in_turns(run_in_turns, jobs, options.turns_s)
        else:
            measured = (run_once(recipe, data[recipe.name], steps=options.steps) for recipe in seeded)
        for recipe, numbers in zip(seeded, measured, strict=True):
            found[recipe.name].append(numbers)
            cold = {"cold_s": time.perf_counter() - STARTED_S} if is_first and not options.turns_s else {}
            is_first = False
            where = {"convolutions": convolutions(), "steps": options.steps} | describe_environment()
            where |= {"turns_s": options.turns_s} if options.turns_s else {}
            line = {"recipe": recipe.to_dict()} | numbers | cold | where
            if not options.max_epochs:
                append_line("time_to_accuracy_gpu" if torch.cuda.is_available() else "time_to_accuracy", line)
            print(recipe.name, "  ".join(f"{name} {value:.4f}" for name, value in (numbers | cold).items()), flush=True)
    for name, runs in found.items():
        print(summary(name, runs), file=sys.stderr)


if __name__ == "__main__":
    main()
