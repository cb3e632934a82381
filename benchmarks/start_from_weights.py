"""Measure what starting from a trained network gains: five classes of CIFAR-10, from a network that knows the others.

The network is trained once on the training images of the classes 0 to 4 (airplane, automobile, bird, cat, deer). It is
then trained on a few images of each of the other five classes (dog, frog, horse, ship, truck), started from these
weights as `fit --init` does, and from random weights. Each seed draws its own images. Both are measured on the official
test images of the five classes; nothing was chosen on them.

    python benchmarks/start_from_weights.py --per_class 10 50 100 --seeds 0 1 2 3 4 --data_dir DATA_DIR
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from few_images import draw_subset, measure, train
from firstlight.cli.quiet import quiet_lightning
from firstlight.data.images import ImageSet
from firstlight.data.source import open_source
from firstlight.recipes import get_recipe
from firstlight.recipes.config import Recipe
from firstlight.runs.run import Run
from firstlight.training.adapt_recipe import adapt_recipe
from record import command_line, record, spread

KNOWN, NEW = range(5), range(5, 10)
STARTS = ("random", "weights")


def with_classes(images: ImageSet, labels: range) -> ImageSet:
    """Return the images of some classes, renumbered from 0."""
    rows = torch.isin(images.labels, torch.tensor(labels)).nonzero().flatten()
    chosen = images.labels[rows] - labels.start
    names = images.class_names[labels.start : labels.stop]
    return ImageSet(images.images[rows], chosen, names, ids=images.ids[rows], name=images.name)


def trained_run(recipe: Recipe, images: ImageSet, folder: Path) -> Run:
    """Train the network that is started from, and write as much of a run as a start needs."""
    recipe.save(folder / "recipe.yaml")
    module, _ = train(recipe, images)
    run = Run(folder)
    run.save_weights(module.network, images)
    return run


def measured(recipe: Recipe, images: ImageSet, test: ImageSet, init: str) -> float:
    """Return the single-view test accuracy of a training on these images."""
    recipe, _ = adapt_recipe(replace(recipe, init=init), images, test)
    return measure(*train(recipe, images), test, "test")["test_acc"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="small")
    parser.add_argument("--per_class", type=int, nargs="+", default=[10, 50, 100])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--source_recipe", default="small", help="recipe of the network that is started from")
    parser.add_argument("--source_epochs", type=int, default=4)
    parser.add_argument("--source_per_class", type=int, default=5000, help="images of each class that it learns")
    parser.add_argument("--data_dir", default="data")
    options = parser.parse_args()
    quiet_lightning()
    source = open_source("cifar10", Path(options.data_dir))
    whole, test = source.train(), source.test()
    known, new, new_test = with_classes(whole, KNOWN), with_classes(whole, NEW), with_classes(test, NEW)
    known = draw_subset(known, options.source_per_class, seed=0)
    results: dict[str, Any] = {"classes": list(new.class_names), "recipe": get_recipe(options.recipe).to_dict()}
    with tempfile.TemporaryDirectory() as folder:
        first = replace(get_recipe(options.source_recipe), max_epochs=options.source_epochs, num_val=0, batch_size=128)
        run = trained_run(first, known, Path(folder))
        results["source"] = {"recipe": first.to_dict()} | measure_known(run, with_classes(test, KNOWN))
        print(results["source"]["test_acc"], flush=True)
        for per_class in options.per_class:
            found: dict[str, list[float]] = {start: [] for start in STARTS}
            for seed in options.seeds:
                images, recipe = draw_subset(new, per_class, seed), replace(get_recipe(options.recipe), seed=seed)
                for start in STARTS:
                    found[start].append(measured(recipe, images, new_test, str(run.path) if start == "weights" else ""))
                print(per_class, seed, {start: values[-1] for start, values in found.items()}, flush=True)
            gains = [after - before for before, after in zip(*found.values(), strict=True)]
            results[f"per_class_{per_class}"] = {start: spread(found[start]) for start in STARTS} | {
                "gain": spread(gains)
            }
            record("start_from_weights", command_line(), results)


def measure_known(run: Run, test: ImageSet) -> dict[str, float]:
    """Return the accuracy of the network that is started from, on its own classes."""
    from firstlight.reports.cached_predictions import predict_images

    return {"test_acc": predict_images(run.network, test).accuracy}


if __name__ == "__main__":
    main()
