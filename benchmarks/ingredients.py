"""Measure the value of each ingredient of a recipe: train the recipe with and without it, over paired seeds.

The network is narrow and only part of the images is used, so that many runs fit into an hour. Every variant is run with
every seed, so that differences are paired. Accuracy is measured on validation images; the test split is not used. Each
run appends a line to `results/ingredients.jsonl`, and `benchmarks/tables.py` renders the mean differences.

    python benchmarks/ingredients.py page24 --data_dir DATA_DIR --seeds 0 1 2
    python benchmarks/ingredients.py fast94 --data_dir DATA_DIR --seeds 0 1 2 --variants whole no_small_batches
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch.nn import functional as F

from firstlight.augment.progressive import ProgressiveResizing
from firstlight.cli.quiet import quiet_lightning
from firstlight.evaluation.tta_views import logits_of
from firstlight.networks import SpeedNetConfig
from firstlight.recipes import get_recipe
from firstlight.recipes.config import OptimizerConfig, Recipe
from firstlight.runs.environment import describe_environment
from firstlight.training.build import build
from firstlight.training.trainer import SILENT, Trainer
from record import NUM_CIFAR10, append_line

Change = Callable[[Recipe], Recipe]


def without_alternation(recipe: Recipe) -> Recipe:
    return replace(recipe, augmentation=replace(recipe.augmentation, flip="random"))


def without_label_smoothing(recipe: Recipe) -> Recipe:
    return replace(recipe, label_smoothing=0.0)


def with_optimizer(**changes: Any) -> Change:
    return lambda recipe: replace(recipe, optimizer=replace(recipe.optimizer, **changes))


def with_augmentation(**changes: Any) -> Change:
    return lambda recipe: replace(recipe, augmentation=replace(recipe.augmentation, **changes))


def with_network(**changes: Any) -> Change:
    return lambda recipe: replace(recipe, network=replace(recipe.network, **changes))


def with_batches_of_airbench94(recipe: Recipe) -> Recipe:
    control = get_recipe("airbench94")
    assert isinstance(control.network, SpeedNetConfig)
    scaled = ("learning_rate", "head_rate", "bias_rate", "weight_decay")
    rates = {name: getattr(control.optimizer, name) for name in scaled}
    scaled_recipe = with_network(norm_momentum=control.network.norm_momentum)(with_optimizer(**rates)(recipe))
    return replace(scaled_recipe, batch_size=control.batch_size)


def with_half_the_rate(recipe: Recipe) -> Recipe:
    return with_optimizer(learning_rate=recipe.optimizer.learning_rate / 2)(recipe)


def with_the_sgd_of_page(recipe: Recipe) -> Recipe:
    """Use David Page's optimizer and schedule, with his slow head and averaged weights."""
    optimizer = OptimizerConfig(
        "sgd", learning_rate=0.4, head_rate=1 / 16, schedule="one_cycle", momentum=0.9, weight_decay=5e-4
    )
    return replace(recipe, optimizer=optimizer, averaging=0.99)


VARIANTS: dict[str, dict[str, Change]] = {
    "page24": {
        "whole": lambda recipe: recipe,
        "the_sgd_of_page": with_the_sgd_of_page,
        "no_slow_head": with_optimizer(head_rate=16 * get_recipe("page24").optimizer.head_rate),
        "no_cutout": with_augmentation(cutout_px=0),
        "no_alternation": without_alternation,
        "no_label_smoothing": without_label_smoothing,
        "no_weight_decay": with_optimizer(weight_decay=0.0),
        "half_the_rate": with_half_the_rate,
        "averaged_weights": lambda recipe: replace(recipe, averaging=0.99),
    },
    "fast94": {
        "whole": lambda recipe: recipe,
        "no_small_batches": with_batches_of_airbench94,
        "no_slow_norm_statistics": with_network(norm_momentum=0.4),
        "no_alternation": without_alternation,
        "no_label_smoothing": without_label_smoothing,
        "no_translation": with_augmentation(crop_px=0),
        "all_images": lambda recipe: replace(recipe, hardest_share=1.0),
        "hardest_half": lambda recipe: replace(recipe, hardest_share=0.5),
        "all_gradients": lambda recipe: replace(recipe, gradient_share=1.0),
        "no_crops": lambda recipe: replace(recipe, resizing=ProgressiveResizing()),
        "crops_of_28_pixels_only": lambda recipe: replace(
            recipe, resizing=ProgressiveResizing("crop", 0.875, delay_fraction=0.75, finetune_fraction=0.25)
        ),
        "crops_of_28_pixels_between": lambda recipe: replace(
            recipe, resizing=ProgressiveResizing("crop", 0.75, delay_fraction=0.375, finetune_fraction=0.125)
        ),
        "small_images_instead_of_crops": lambda recipe: replace(
            recipe, resizing=replace(recipe.resizing, method="scale")
        ),
        "patches_padded": with_network(pad_patches=True),
        "eight_patch_directions": with_network(patch_directions=8),
        "no_third_convolution": with_network(deep_groups=0),
        "two_deep_groups": with_network(deep_groups=2),
        "first_stages_frozen_from_75_percent": with_optimizer(frozen_stages=2, freeze_at=0.75),
        "whitening_bias_for_one_epoch": with_optimizer(whitening_epochs=1.0),
        "half_the_rate": with_half_the_rate,
    },
}


def small(recipe: Recipe, options: argparse.Namespace) -> Recipe:
    """Return the recipe with a narrow network and fewer images."""
    return replace(
        recipe,
        name="ingredients",
        network=replace(recipe.network, width=options.width),
        num_val=NUM_CIFAR10 - options.num_train,
        max_epochs=options.max_epochs or recipe.max_epochs,
        batch_size=options.batch_size or recipe.batch_size,
    )


def measure(recipe: Recipe, data_dir: str) -> dict[str, float]:
    """Train, validate once at the end, and return validation accuracies, loss and CPU seconds of the training."""
    module, data = build(recipe, data_dir)
    trainer = Trainer(max_epochs=recipe.max_epochs, limit_val_batches=0, **SILENT)
    started_s = time.process_time()
    trainer.fit(module, datamodule=data)
    cpu_s = time.process_time() - started_s
    module.eval()
    single = logits_of(module.network, data.val.images)
    several = logits_of(module.network, data.val.images, "flip_shift", single)
    labels = data.val.labels
    return {
        "val_acc": float((single.argmax(dim=1) == labels).double().mean()),
        "val_acc_tta": float((several.argmax(dim=1) == labels).double().mean()),
        "val_loss": float(F.cross_entropy(single, labels)),
        "cpu_s": cpu_s,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", choices=VARIANTS)
    parser.add_argument("--data_dir", default="data")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--variants", nargs="+", help="the variants to run; all by default")
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--num_train", type=int, default=20_000)
    parser.add_argument("--max_epochs", type=int, help="the number of epochs; the recipe's by default")
    parser.add_argument("--batch_size", type=int, help="the batch size; the recipe's by default")
    options = parser.parse_args()
    variants = VARIANTS[options.recipe]
    unknown = set(options.variants or []) - set(variants)
    if unknown:
        parser.error(f"{options.recipe} has no variant {', '.join(sorted(unknown))}: choose from {', '.join(variants)}")
    quiet_lightning()
    for seed in options.seeds:
        for name in options.variants or variants:
            recipe = variants[name](small(replace(get_recipe(options.recipe), seed=seed), options))
            found = measure(recipe, options.data_dir)
            line = {"of": options.recipe, "variant": name, "recipe": recipe.to_dict()} | found | describe_environment()
            append_line("ingredients", line)
            numbers = "  ".join(f"{key} {value:.4f}" for key, value in found.items())
            print(f"seed {seed}  {name:<20} {numbers}", flush=True)


if __name__ == "__main__":
    main()
