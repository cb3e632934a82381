"""The value of each ingredient of a recipe, from `ingredients.jsonl`."""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import replace

from firstlight.recipes.config import Recipe
from ingredients import VARIANTS
from record import NUM_CIFAR10
from rendering.cells import Row, load_lines, markdown, mean_percent, with_standard_error
from rendering.recipe_versions import differences, recipe_of

SMALL = ("name", "num_val", "max_epochs", "network.width")  # fields that only make the runs short
DESCRIPTIONS = {  # variants whose names do not say what changes
    "the_sgd_of_page": "with David Page's SGD instead of Muon",
    "no_slow_head": "with a head rate 16 times as high",
    "no_alternation": "with random instead of alternating flips",
    "half_the_rate": "with half the learning rate",
    "averaged_weights": "with averaged weights (0.99)",
    "no_small_batches": "with the batches of 2,000 of `airbench94`, rates scaled",
    "no_slow_norm_statistics": "with batch norm momentum 0.4",
    "no_translation": "without random shifts",
    "all_images": "with all images in every epoch (`hardest_share` 1)",
    "hardest_half": "with the hardest half of the images (`hardest_share` 0.5)",
    "all_gradients": "with the gradients of all images (`gradient_share` 1)",
    "no_crops": "with whole images from the start",
    "crops_of_28_pixels_only": "with crops of 28 pixels for three quarters of the training",
    "crops_of_28_pixels_between": "with crops of 28 pixels between crops of 24 and whole images",
    "small_images_instead_of_crops": "with scaled images instead of crops",
    "patches_padded": "with padded images (`network.pad_patches`)",
    "eight_patch_directions": "with 8 instead of 12 whitening directions",
    "no_third_convolution": "without a deep group (`network.deep_groups` 0)",
    "first_stages_frozen_from_75_percent": "with the first two stages frozen from 75 % on",
    "whitening_bias_for_one_epoch": "with a whitening bias that learns for one epoch instead of three",
}


def ingredients_page() -> str:
    return ingredients("page24")


def ingredients_fast() -> str:
    return ingredients("fast94")


def ingredients(recipe_name: str) -> str:
    """Return the table of each change's gain or loss, in points of validation accuracy over paired seeds.

    The recipe is the version that was measured last as a whole; a table below gives its differences from today's.
    """
    lines = [line for line in load_lines("ingredients") if line["of"] == recipe_name]
    measured = recipe_of([line for line in lines if line["variant"] == "whole"][-1])
    runs: dict[str, dict[int, Row]] = defaultdict(dict)
    for line in lines:
        if is_variant(line, measured):
            runs[line["variant"]][line["recipe"]["seed"]] = line
    whole = runs.pop("whole")
    rows = [cells for variant, found in runs.items() if (cells := compare(variant, found, whole))]
    table = markdown(f"{recipe_name} | points, single view | points, tta | time | n", "lrrrr", rows)
    changes = differences(replace(measured, name=recipe_name), SMALL)
    return "\n\n".join([table, describe(measured, list(whole.values())), *earlier_version(changes)])


def compare(variant: str, found: dict[int, Row], whole: dict[int, Row]) -> list[str]:
    """Return the cells of a variant, or nothing if no seed was run with and without it."""
    pairs = [(line, whole[seed]) for seed, line in found.items() if seed in whole]
    if not pairs:
        return []
    points = [
        with_standard_error([100 * (line[name] - other[name]) for line, other in pairs])
        for name in ("val_acc", "val_acc_tta")
    ]
    time = statistics.fmean(line["cpu_s"] / other["cpu_s"] for line, other in pairs)
    name = ("without " if variant.startswith("no_") else "with ") + variant.removeprefix("no_").replace("_", " ")
    return [DESCRIPTIONS.get(variant, name), *points, f"x {time:.2f}", str(len(pairs))]


def is_variant(line: Row, measured: Recipe) -> bool:
    """Whether a line was measured with a variant of the recipe as `measured`, whatever the seed."""
    found = recipe_of(line)
    change = VARIANTS[line["of"]].get(line["variant"])
    return change is not None and change(replace(measured, seed=found.seed)) == found


def describe(measured: Recipe, whole: list[Row]) -> str:
    """Return the text below the table: what the numbers are, and how small the runs were."""
    single, with_tta = mean_percent(whole, "val_acc"), mean_percent(whole, "val_acc_tta")
    return (
        "Differences of validation accuracy: mean and standard error over paired seeds. "
        f"The whole recipe reaches {single} with a single view and {with_tta} with tta. "
        f"The runs are small, to rank the ingredients: width {measured.flat()['network.width']}, "
        f"{NUM_CIFAR10 - measured.num_val:,} training images, {measured.max_epochs} epochs."
    )


def earlier_version(changes: dict[str, tuple[object, object]]) -> list[str]:
    """Return a table of the fields in which the measured recipe differs from today's, or nothing."""
    if not changes:
        return []
    rows = [[f"`{name}`", f"{then}", f"{now}"] for name, (then, now) in changes.items()]
    return ["An earlier version of the recipe was measured:", markdown("field | measured | today", "lrr", rows)]
