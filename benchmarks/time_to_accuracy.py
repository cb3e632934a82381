"""Measure seconds and accuracy of the speed recipes by the clock of the published speed records.

Like the clock of the records, it counts computing the whitening filters from the images, training with augmentation,
and the final test with all views. It does not count reading the data, building networks, compiling steps and
Lightning's setup. `cold_s` is the time of the whole process, for which a user waits. Each seed appends a line to
`results/time_to_accuracy.jsonl`, or on a GPU to `results/time_to_accuracy_gpu.jsonl`.

    python benchmarks/time_to_accuracy.py --recipes airbench94 fast94 --seeds 0 1 2 --data_dir DATA_DIR

The speed of a shared machine drifts from minute to minute. `--turns_s 4 6` therefore runs two recipes alternately, the
first for four and the second for six seconds; the clock of each is stopped while the other runs.
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
from firstlight.training.callbacks.step_clock import synchronized_time_s
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
    """Measure the seconds of the training without the turns of the other process."""

    seconds = 0.0
    _started_s = 0.0

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch == 0:  # compiling and capturing steps is not counted
            self._started_s = synchronized_time_s(trainer.strategy.root_device) - self._turns.waited_s

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.seconds = synchronized_time_s(trainer.strategy.root_device) - self._turns.waited_s - self._started_s


def run_once(
    recipe: Recipe, data: ImageData, *, steps: Steps = "recorded", turns: Turns | None = None
) -> dict[str, float]:
    """Train and test once; return the seconds of the clock and the accuracies on the test split."""
    turns = turns or Turns()
    pl.seed_everything(recipe.seed, verbose=False)
    network = build_network(len(data.train.class_names), recipe.network, *data.train.mean_and_std)
    clock = Clock(turns)
    trainer = Trainer(
        max_epochs=recipe.max_epochs, limit_val_batches=0, callbacks=[clock, turns], log_every_n_steps=50, **SILENT
    )
    device = trainer.strategy.root_device
    started_s = synchronized_time_s(device)
    network.to(device).init_from_data(data.train.images[:NUM_INIT_IMAGES].to(device))
    init_s = synchronized_time_s(device) - started_s
    module = Classifier(network, recipe, steps)
    data.recipe, data.trainer = recipe, trainer
    batches = data.train_dataloader()
    batches.send()
    trainer.fit(module, batches)
    module.to(device).eval()
    images, labels = data.test.images.to(device), data.test.labels.to(device)
    started_s = synchronized_time_s(device)
    with torch.inference_mode(), trainer.precision_plugin.forward_context():
        logits = torch.cat(
            [
                averaged_logits(network, to_unit(part), recipe.views, margin=recipe.views_margin)
                for part in images.split(TEST_BATCH_SIZE)
            ]
        )
        tta = (logits.argmax(dim=1) == labels).double().mean()
        test_s = synchronized_time_s(device) - started_s
        single = torch.cat([network(to_unit(part)) for part in images.split(TEST_BATCH_SIZE)])
    return {
        "seconds": init_s + clock.seconds + test_s,
        "train_s": clock.seconds,
        "test_s": test_s,
        "test_acc_tta": float(tta),
        "test_acc": float((single.argmax(dim=1) == labels).double().mean()),
    }


def run_in_turns(job: tuple[Recipe, str, Steps], turns: Turns) -> dict[str, float]:
    """Read the images and run once, in turns with another process."""
    quiet_lightning()
    recipe, data_dir, steps = job
    return run_once(recipe, load_data(recipe, data_dir), steps=steps, turns=turns)


def convolutions() -> str:
    """Return the algorithm of a wide layer in training on this machine: "amx", "winograd" or "pytorch"."""
    if torch.cuda.is_available():
        return "pytorch"
    with torch.autocast("cpu", torch.bfloat16, enabled=default_precision("cpu") == "bf16-mixed"):
        algorithm = Conv3x3(64, 64).algorithm(torch.empty(512, 64, 16, 16))
    return "pytorch" if algorithm is None else algorithm.name


def load_data(recipe: Recipe, data_dir: str) -> ImageData:
    """Read the images, which the clock does not count."""
    data = ImageData(recipe, data_dir)
    data.setup("fit")
    data.setup("test")
    assert isinstance(data.test_dataloader(), Batches)
    return data


def summary(name: str, found: list[dict[str, float]]) -> str:
    """Summarize the runs of a recipe in a line."""
    accuracies = [each["test_acc_tta"] for each in found]
    bound = f", above {lower_bound(accuracies):.2%} with 95 % confidence" if len(found) > 1 else ""
    seconds = statistics.fmean(each["seconds"] for each in found)
    return f"{name}, n={len(found)}: {statistics.fmean(accuracies):.2%} with tta{bound}, in {seconds:.2f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="+", default=["airbench94", "fast94"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--data_dir", default="data")
    parser.add_argument(
        "--steps", default="recorded", choices=get_args(Steps), help="the kind of steps on a GPU; see `firstlight fit`"
    )
    parser.add_argument("--warm_up", action="store_true", help="first run every recipe once without recording it")
    parser.add_argument("--max_epochs", type=int, help="fewer epochs for a trial run, which writes nothing")
    parser.add_argument("--turns_s", type=float, nargs=2, help="run two recipes alternately, for these seconds each")
    options = parser.parse_args()
    if options.turns_s and len(options.recipes) != len(options.turns_s):
        parser.error("--turns_s is for two recipes")
    if options.turns_s and options.warm_up:
        parser.error("--turns_s starts a process for every run, which --warm_up cannot reach")
    quiet_lightning()
    recipes = [get_recipe(name) for name in options.recipes]
    if options.max_epochs:
        recipes = [replace(recipe, max_epochs=options.max_epochs) for recipe in recipes]
    loaded = [] if options.turns_s else recipes  # with --turns_s each process reads its own images
    data = {recipe.name: load_data(recipe, options.data_dir) for recipe in loaded}
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
            environment = {"convolutions": convolutions(), "steps": options.steps} | describe_environment()
            environment |= {"turns_s": options.turns_s} if options.turns_s else {}
            line = {"recipe": recipe.to_dict()} | numbers | cold | environment
            if not options.max_epochs:
                append_line("time_to_accuracy_gpu" if torch.cuda.is_available() else "time_to_accuracy", line)
            print(recipe.name, "  ".join(f"{name} {value:.4f}" for name, value in (numbers | cold).items()), flush=True)
    for name, runs in found.items():
        print(summary(name, runs), file=sys.stderr)


if __name__ == "__main__":
    main()
