"""Measure the time that Lightning adds to fast94 on a GPU: run `Trainer.fit` and a bare training loop alternately.

Both train on the same batches with the same captured steps. Capturing and compiling are not timed. The result has the
seconds of a whole training with each.

    python benchmarks/overhead_gpu.py --data_dir DATA_DIR
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import pytorch_lightning as pl
import torch

from firstlight.augment.progressive import progress_at
from firstlight.cli.quiet import quiet_lightning
from firstlight.data.batches import Batches
from firstlight.networks import build_network
from firstlight.recipes import get_recipe
from firstlight.recipes.config import Recipe
from firstlight.training.callbacks.step_clock import synchronized_time_s
from firstlight.training.data_module import ImageData
from firstlight.training.initialization import NUM_INIT_IMAGES
from firstlight.training.lr_schedules import lr_schedules
from firstlight.training.optimizers import build_optimizer
from firstlight.training.steps.graphed import StepGraphs, step_shapes
from record import command_line, record, spread
from time_to_accuracy import load_data, run_once

DEVICE = torch.device("cuda")


def bare_s(recipe: Recipe, data: ImageData, *, is_compiled: bool) -> float:
    """Return the seconds of a whole training in a bare loop."""
    pl.seed_everything(recipe.seed, verbose=False)
    network = build_network(len(data.train.class_names), recipe.network, *data.train.mean_and_std)
    network = network.to(DEVICE, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    network.init_from_data(data.train.images[:NUM_INIT_IMAGES].to(DEVICE))
    batches = data.train_dataloader()
    assert isinstance(batches, Batches)
    batches.send()
    optimizer = build_optimizer(recipe.optimizer, network, torch.bfloat16)
    num_steps = recipe.max_epochs * len(batches)
    shapes = step_shapes(network, recipe, optimizer, batches, range(num_steps))
    peaks = [group["lr"] for group in optimizer.param_groups]
    shares = lr_schedules(recipe.optimizer, optimizer, num_steps, recipe.max_epochs) or []
    parameters = [each for each in network.parameters() if each.requires_grad]
    steps = StepGraphs(network, recipe, optimizer, torch.bfloat16, is_compiled=is_compiled)
    steps.prepare(shapes, DEVICE)
    step = 0
    started_s = synchronized_time_s(DEVICE)
    for epoch in range(recipe.max_epochs):
        batches.sampler.set_epoch(epoch)
        for images, labels, ids in batches:
            for group, peak, share in zip(optimizer.param_groups, peaks, shares, strict=True):
                group["lr"] = peak * share(step)
            for each, learns in zip(parameters, shapes[step].requires_grad, strict=True):
                each.requires_grad_(learns)
            progress = progress_at(step, num_steps)
            losses = steps(recipe.resizing.apply(images, progress), labels, progress)
            assert losses is not None, "every step was captured"
            batches.add_losses(ids, losses.plain)
            optimizer.step()
            step += 1
    return synchronized_time_s(DEVICE) - started_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", default="data")
    parser.add_argument("--num_turns", type=int, default=3)
    parser.add_argument("--steps", default="recorded", choices=("recorded", "compiled"))
    options = parser.parse_args()
    quiet_lightning()
    recipe = get_recipe("fast94")
    data = load_data(recipe, options.data_dir)
    found: dict[str, list[float]] = {"lightning": [], "bare": []}
    run_once(recipe, data, steps=options.steps)  # warms up
    for seed in range(options.num_turns):
        seeded = replace(recipe, seed=seed)
        found["lightning"].append(run_once(seeded, data, steps=options.steps)["train_s"])
        found["bare"].append(bare_s(seeded, data, is_compiled=options.steps == "compiled"))
    ratios = [a / b for a, b in zip(found["lightning"], found["bare"], strict=True)]
    results = {name: spread(values) for name, values in found.items()} | {"lightning_over_bare": spread(ratios)}
    print(record("overhead_gpu", command_line(), results))


if __name__ == "__main__":
    main()
