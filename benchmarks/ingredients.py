"""What each ingredient of page24 is worth: the recipe without it, on validation images, over paired seeds.

A narrow network and part of the images stand for the whole, so that many runs fit into an hour; the ranking is what
counts. Every seed is run with every variant, so that differences are paired. Lines add up over days in
`results/ingredients.jsonl`; `benchmarks/tables.py` renders mean differences.

    python benchmarks/ingredients.py --data_dir DATA_DIR --seeds 0 1 2
    python benchmarks/ingredients.py --data_dir DATA_DIR --seeds 0 1 2 --variants whole no_cutout
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from firstlight.cli.quiet import quiet_lightning
from firstlight.networks import ResNet9Config
from firstlight.recipes import get_recipe
from firstlight.training.environment import describe_environment
from firstlight.training.prepare import prepare
from firstlight.training.recipe import Recipe
from firstlight.training.trainer import SILENT, Trainer
from record import append_line

NUM_CIFAR10 = 50_000

VARIANTS: dict[str, Callable[[Recipe], Recipe]] = {
    "whole": lambda recipe: recipe,
    "no_slow_head": lambda recipe: replace(recipe, optimizer=replace(recipe.optimizer, head_rate=1.0)),
    "no_cutout": lambda recipe: replace(recipe, augmentation=replace(recipe.augmentation, cutout_px=0)),
    "no_alternation": lambda recipe: replace(recipe, augmentation=replace(recipe.augmentation, flip="random")),
    "no_label_smoothing": lambda recipe: replace(recipe, label_smoothing=0.0),
    "no_averaging": lambda recipe: replace(recipe, averaging=0.0),
    "no_weight_decay": lambda recipe: replace(recipe, optimizer=replace(recipe.optimizer, weight_decay=0.0)),
    "half_the_rate": lambda recipe: replace(
        recipe, optimizer=replace(recipe.optimizer, learning_rate=recipe.optimizer.learning_rate / 2)
    ),
}


def small(recipe: Recipe, options: argparse.Namespace) -> Recipe:
    """The recipe on a narrow network, fewer images and fewer epochs."""
    return replace(
        recipe,
        name="ingredients",
        network=ResNet9Config(width=options.width),
        num_val=NUM_CIFAR10 - options.num_train,
        max_epochs=options.max_epochs,
        batch_size=options.batch_size,
    )


def measure(recipe: Recipe, data_dir: str) -> dict[str, float]:
    """Train, validate once, at the end, and return the validation's numbers."""
    module, data = prepare(recipe, data_dir)
    trainer = Trainer(
        max_epochs=recipe.max_epochs,
        check_val_every_n_epoch=recipe.max_epochs,
        num_sanity_val_steps=0,
        **SILENT,
    )
    trainer.fit(module, datamodule=data)
    return {name: float(trainer.callback_metrics[name]) for name in ("val_acc", "val_loss")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", default="data")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--num_train", type=int, default=20_000)
    parser.add_argument("--max_epochs", type=int, default=8)
    parser.add_argument("--batch_size", type=int, default=256)
    options = parser.parse_args()
    quiet_lightning()
    for seed in options.seeds:
        for name in options.variants:
            recipe = VARIANTS[name](small(replace(get_recipe("page24"), seed=seed), options))
            found = measure(recipe, options.data_dir)
            line: dict[str, Any] = {"variant": name, "recipe": recipe.to_dict()} | found | describe_environment()
            append_line("ingredients", line)
            print(
                f"seed {seed}  {name:<20} val_acc {found['val_acc']:.4f}  val_loss {found['val_loss']:.4f}", flush=True
            )


if __name__ == "__main__":
    main()
