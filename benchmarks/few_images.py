"""Measure recipes on small subsets of CIFAR-10, as a folder with 10 to 500 images of each class would be trained on.

A subset is drawn from the training split by its seed, which is also the seed of the training. The recipe is adapted to
the number of images as `fit` adapts it to a folder with validation images of its own. Candidates are compared on 2,000
validation images from the rest of the training split, the same ones for all subsets. With `--test` the official test
split is measured as well; a recipe is chosen without it. Each training appends one line to
`results/few_images.jsonl`.

    python benchmarks/few_images.py --recipes small adam24 --per_class 10 50 --subsets 0 1 2 --test --data_dir DATA_DIR
    python benchmarks/few_images.py --recipes small --per_class 50 --set augmentation.cutmix=1.0 --data_dir DATA_DIR
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml

from firstlight.cli.quiet import quiet_lightning
from firstlight.data.batches import Batches
from firstlight.data.images import ImageSet
from firstlight.data.rng import generator
from firstlight.data.sampler import EpochSampler
from firstlight.data.source import open_source
from firstlight.recipes import get_recipe
from firstlight.recipes.config import Recipe, from_dict
from firstlight.runs.environment import describe_environment
from firstlight.training.adapt_recipe import adapt_recipe
from firstlight.training.module import Classifier
from firstlight.training.start_weights import initialized_network
from firstlight.training.trainer import SILENT, Trainer
from record import RESULTS, append_line

VAL_PER_CLASS = 200
TEST_BATCH_SIZE = 500


def hold_out(whole: ImageSet) -> tuple[ImageSet, ImageSet]:
    """Return the images from which subsets are drawn, and the validation images, the same at every call."""
    pool, val = [], []
    rng = generator(0, 0, "validation of few_images")
    for label in range(len(whole.class_names)):
        members = (whole.labels == label).nonzero().flatten()
        members = members[torch.randperm(len(members), generator=rng)]
        val.append(members[:VAL_PER_CLASS])
        pool.append(members[VAL_PER_CLASS:])
    return whole[torch.cat(pool).sort().values], whole[torch.cat(val).sort().values]


def draw_subset(pool: ImageSet, per_class: int, seed: int) -> ImageSet:
    """Return a subset with the same number of images of each class; smaller subsets are parts of larger ones."""
    rng, chosen = generator(seed, 0, "subset"), []
    for label in range(len(pool.class_names)):
        members = (pool.labels == label).nonzero().flatten()
        chosen.append(members[torch.randperm(len(members), generator=rng)[:per_class]])
    return pool[torch.cat(chosen).sort().values]


def train(recipe: Recipe, images: ImageSet) -> tuple[Classifier, Trainer]:
    """Train a recipe on all of these images, without a run folder."""
    network, _ = initialized_network(recipe, images)
    module = Classifier(network, recipe)
    trainer = Trainer(max_epochs=recipe.max_epochs, accelerator="cpu", **SILENT)
    sampler = EpochSampler(
        len(images), recipe.batch_size, shuffle=True, seed=recipe.seed, hardest_share=recipe.hardest_share
    )
    trainer.fit(module, Batches(images, sampler, recipe.augmentation, trainer.strategy.root_device))
    return module, trainer


def measure(module: Classifier, trainer: Trainer, images: ImageSet, split: str) -> dict[str, float]:
    """Return the accuracies of a trained module on all of these images, single view and with the recipe's views."""
    batches = Batches(images, EpochSampler(len(images), TEST_BATCH_SIZE, shuffle=False, seed=0))
    (found,) = trainer.test(module, batches, verbose=False)
    return {name.replace("test", split): found[name] for name in ("test_acc", "test_acc_tta") if name in found}


def changed(recipe: Recipe, settings: list[str]) -> Recipe:
    """Return the recipe with fields changed, each "NAME=VALUE", for instance "augmentation.cutmix=1.0"."""
    values = recipe.to_dict()
    for setting in settings:
        names, _, value = setting.partition("=")
        *parts, last = names.split(".")
        target: Any = values
        for part in parts:
            target = target[part]
        target[last] = yaml.safe_load(value)
    return from_dict(Recipe, values)


def is_measured(per_class: int, recipe: Recipe, *, test: bool) -> bool:
    """Return whether the results hold this training already, so that a stopped command can be repeated."""
    path = RESULTS / "few_images.jsonl"
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    wanted = json.loads(json.dumps(recipe.to_dict()))
    return any(
        line["per_class"] == per_class and line["recipe"] == wanted and (not test or "test_acc" in line)
        for line in lines
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="+", required=True)
    parser.add_argument("--per_class", type=int, nargs="+", default=[10, 50, 100, 500])
    parser.add_argument("--subsets", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--set", nargs="+", default=[], metavar="FIELD=VALUE", help="change fields of the recipes")
    parser.add_argument("--test", action="store_true", help="measure the official test split, too")
    parser.add_argument("--data_dir", default="data")
    options = parser.parse_args()
    quiet_lightning()
    source = open_source("cifar10", Path(options.data_dir))
    pool, val = hold_out(source.train())
    for per_class in options.per_class:
        for seed in options.subsets:
            images = draw_subset(pool, per_class, seed)
            for name in options.recipes:
                recipe = replace(changed(get_recipe(name), options.set), seed=seed)
                recipe, _ = adapt_recipe(recipe, images, val)
                if is_measured(per_class, recipe, test=options.test):
                    continue
                started_s, cpu_s = time.perf_counter(), time.process_time()
                module, trainer = train(recipe, images)
                line = {"per_class": per_class, "subset": seed, "recipe": recipe.to_dict()}
                line |= {"train_s": time.perf_counter() - started_s, "train_cpu_s": time.process_time() - cpu_s}
                line |= measure(module, trainer, val, "val")
                if options.test:
                    line |= measure(module, trainer, source.test(), "test")
                append_line("few_images", line | describe_environment())
                print({key: value for key, value in line.items() if key != "recipe"}, name, flush=True)


if __name__ == "__main__":
    main()
