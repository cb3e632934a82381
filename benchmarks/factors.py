r"""Measure the effects of several fields of a recipe at once, each with two values, in an orthogonal array.

Every run counts for every factor: 16 runs measure each of up to 8 factors as precisely as 8 runs with its first value
and 8 runs with its second. The array has resolution IV: effects of single factors are confounded neither with each
other nor with interactions of two factors; interactions of two factors are confounded with each other. (Box and Hunter
1961, "The 2^(k-p) fractional factorial designs", Technometrics 3; the columns are all products of an odd number of
basic columns.) All runs share one split into training and validation images, and each has its own seed. The test split
is not used. A factor is one field of the recipe, or several fields that change together:

    python benchmarks/factors.py fast94 --data_dir DATA_DIR --num_runs 16 --factors network.patch_directions=12,8 \
        "optimizer.sgd_momentum=0.85,0.75 optimizer.bias_rate=26.5,18" max_epochs=5,6

Each run appends a line to `results/factors.jsonl`. At the end, or at once with `--show`, the script prints the effects
of the factors, estimated from all lines by least squares. Two processes share the work with `--part 1/2` and
`--part 2/2`, each in its own checkout.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import yaml
from torch.nn import functional as F

from firstlight.cli.quiet import quiet_lightning
from firstlight.evaluation.tta_views import logits_of
from firstlight.networks import build_network
from firstlight.recipes import RECIPES, get_recipe
from firstlight.recipes.config import Recipe, from_dict
from firstlight.runs.environment import describe_environment
from firstlight.training.data_module import ImageData
from firstlight.training.initialization import NUM_INIT_IMAGES
from firstlight.training.module import Classifier
from firstlight.training.trainer import SILENT, Trainer
from record import RESULTS, append_line

Factor = dict[str, tuple[Any, Any]]  # dotted names of fields, each with its two values

SPLIT_SEED = 0
TEMPERATURES = [0.3 * 1.1**step for step in range(20)]  # 0.3 to 1.8


def orthogonal_array(num_runs: int, num_factors: int, seed: int) -> list[list[int]]:
    """Return the levels (0 or 1) of every factor in every run, in random order, with random columns for the factors.

    >>> array = orthogonal_array(8, 4, seed=0)
    >>> [sum(run[0] == run[1] for run in array), sum(run[0] == run[1] == run[2] for run in array)]
    [4, 2]
    """
    num_basic = num_runs.bit_length() - 1
    if 2**num_basic != num_runs or 2 ** (num_basic - 1) < num_factors:
        raise ValueError(f"{num_factors} factors need a power of 2 of runs, at least {2 * num_factors}")
    products = [c for size in range(1, num_basic + 1, 2) for c in itertools.combinations(range(num_basic), size)]
    rng = random.Random(seed)
    columns = rng.sample(products, num_factors)
    runs = [
        [sum(basic[i] for i in column) % 2 for column in columns]
        for basic in itertools.product((0, 1), repeat=num_basic)
    ]
    rng.shuffle(runs)
    return runs


def with_field(recipe: Recipe, name: str, value: Any) -> Recipe:
    """Return the recipe with another value of a field, given by its dotted name."""
    values = recipe.to_dict()
    *groups, last = name.split(".")
    inner = values
    for group in groups:
        inner = inner[group]
    if last not in inner:
        raise ValueError(f"{recipe.name} has no {name}")
    inner[last] = value
    return from_dict(Recipe, values)


def with_levels(recipe: Recipe, factors: list[Factor], levels: list[int]) -> Recipe:
    """Return the recipe with each factor's first or second value."""
    for fields, level in zip(factors, levels, strict=True):
        for name, values in fields.items():
            recipe = with_field(recipe, name, values[level])
    return recipe


def measure(recipe: Recipe, data_dir: Path | str) -> dict[str, float]:
    """Train with the recipe's seed on the common split, and return validation accuracy, loss and CPU seconds.

    Losses are measured at the best temperature, so that runs with different label smoothing can be compared.
    """
    data = ImageData(replace(recipe, seed=SPLIT_SEED), data_dir)
    data.prepare_data()
    data.setup("fit")
    data.recipe = recipe
    pl.seed_everything(recipe.seed, verbose=False)
    network = build_network(len(data.train.class_names), recipe.network, *data.train.mean_and_std)
    network.init_from_data(data.train.images[:NUM_INIT_IMAGES])
    module = Classifier(network, recipe)
    trainer = Trainer(max_epochs=recipe.max_epochs, limit_val_batches=0, **SILENT)
    started_s = time.process_time()
    trainer.fit(module, data.train_dataloader())
    cpu_s = time.process_time() - started_s
    module.eval()
    labels, found = data.val.labels, {"cpu_s": cpu_s}
    with trainer.precision_plugin.forward_context():
        single = logits_of(module.network, data.val.images)
        several = logits_of(module.network, data.val.images, recipe.views, single, recipe.views_margin)
    for suffix, logits in (("", single), ("_tta", several)):
        found[f"val_acc{suffix}"] = float((logits.argmax(dim=1) == labels).double().mean())
        found[f"val_loss{suffix}"] = min(float(F.cross_entropy(logits / t, labels)) for t in TEMPERATURES)
    return found


def effects(levels: list[list[int]], values: list[float]) -> list[tuple[float, float]]:
    """Return the effect of each factor's second value on the mean, and the effect's standard error.

    >>> found = effects([[0, 0], [0, 1], [1, 0], [1, 1]], [1, 2, 4, 5])
    >>> [(round(effect, 6), round(error, 6)) for effect, error in found]
    [(3.0, 0.0), (1.0, 0.0)]
    """
    design = np.column_stack([np.ones(len(levels)), np.array(levels, float) - 0.5])
    found, *_ = np.linalg.lstsq(design, np.array(values), rcond=None)
    rest = np.array(values) - design @ found
    variance = rest @ rest / max(1, len(values) - design.shape[1])
    errors = np.sqrt(variance * np.diag(np.linalg.pinv(design.T @ design)))
    return list(zip(found[1:].tolist(), errors[1:].tolist(), strict=True))


def show(factors: list[Factor]) -> None:
    """Print the effects of the factors, estimated from all their lines."""
    wanted = json.loads(json.dumps(factors))
    path = RESULTS / "factors.jsonl"
    texts = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    lines = [line for line in map(json.loads, texts) if line["factors"] == wanted]
    if len(lines) <= len(factors) + 1:
        print(f"{len(lines)} runs are too few to estimate {len(factors)} factors")
        return
    levels = [line["levels"] for line in lines]
    points, losses, times = (
        effects(levels, [scale(line[name]) for line in lines])
        for name, scale in (("val_acc_tta", lambda x: 100 * x), ("val_loss_tta", float), ("cpu_s", math.log))
    )
    for each, point, loss, log_time in zip(factors, points, losses, times, strict=True):
        what = ", ".join(f"{name} {first} -> {second}" for name, (first, second) in each.items())
        numbers = f"{point[0]:+.2f} ± {point[1]:.2f} points  loss {loss[0]:+.4f} ± {loss[1]:.4f}"
        print(f"{what}: {numbers}  time x {math.exp(log_time[0]):.2f}  n={len(lines)}")


def factor(text: str) -> Factor:
    """Read "FIELD=FIRST,SECOND FIELD=FIRST,SECOND ...".

    >>> factor("max_epochs=5,6 network.pad_patches=true,false")
    {'max_epochs': (5, 6), 'network.pad_patches': (True, False)}
    """
    found = {}
    for field in text.split():
        name, _, values = field.partition("=")
        first, second = (yaml.safe_load(value) for value in values.split(","))
        found[name] = (first, second)
    return found


def part(text: str) -> slice:
    """Return the runs of a part: for "1/2", every second run from the first."""
    number, of = (int(each) for each in text.split("/"))
    return slice(number - 1, None, of)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", choices=RECIPES)
    parser.add_argument("--data_dir", default="data")
    parser.add_argument("--factors", type=factor, nargs="+", required=True)
    parser.add_argument("--num_runs", type=int, default=16)
    parser.add_argument("--num_val", type=int, default=10_000)
    parser.add_argument(
        "--first_seed", type=int, default=100, help="seed of the first run, which also determines the array"
    )
    parser.add_argument(
        "--part", type=part, default=slice(None), help="the part of the runs to train, for instance 1/2"
    )
    parser.add_argument("--show", action="store_true", help="train nothing; print the effects from the recorded runs")
    options = parser.parse_args()
    if options.show:
        show(options.factors)
        return
    quiet_lightning()
    whole = replace(get_recipe(options.recipe), num_val=options.num_val)
    array = orthogonal_array(options.num_runs, len(options.factors), options.first_seed)
    recipes = [
        replace(with_levels(whole, options.factors, levels), seed=options.first_seed + run)
        for run, levels in enumerate(array)
    ]
    for recipe, levels in list(zip(recipes, array, strict=True))[options.part]:
        found = measure(recipe, options.data_dir)
        line = {"of": options.recipe, "factors": options.factors, "levels": levels, "recipe": recipe.to_dict()}
        append_line("factors", line | found | describe_environment())
        print(f"seed {recipe.seed}  {levels}  " + "  ".join(f"{name} {value:.4f}" for name, value in found.items()))
    show(options.factors)


if __name__ == "__main__":
    main()
