"""Compare all explanation methods on a trained run: faithfulness, and the passes of the network for one image.

Methods of a stage explain the last one. Passes are counted by a hook: each image that the network sees counts one, and
each backward pass counts two more, because it computes two products for each one of the forward pass.

    python benchmarks/trust_methods.py drawn --run logs/demo/version_0 --num_images 100
    python benchmarks/trust_methods.py cifar10 --run logs/page24/version_0 --data_dir DATA_DIR --num_images 50
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from firstlight.attribution import evaluate, explain, method_names
from firstlight.data.batches import to_unit
from firstlight.data.rng import generator
from firstlight.reports.trust import not_better_than_noise
from firstlight.runs.run import load
from firstlight.training.retest import load_test_images
from record import command_line, record

NUM_COUNTED = 8  # images of which the passes are counted


def passes_per_image(network: nn.Module, images: Tensor, method: str) -> float:
    """Return the forward passes of one image for a map; a backward pass counts two."""
    total = 0

    def count_forward(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        total += len(inputs[0])
        if output.requires_grad:
            output.register_hook(count_backward)

    def count_backward(gradient: Tensor) -> None:
        nonlocal total
        total += 2 * len(gradient)

    hook = network.register_forward_hook(count_forward)
    try:
        explain(network, images, method=method)
    finally:
        hook.remove()
    return total / len(images)


def measure(run: Any, data_dir: str | None, num_images: int) -> dict[str, Any]:
    """Return the rows of all methods, with the test accuracy and the recipe of the run."""
    images = load_test_images(run, data_dir).test
    chosen = images[torch.randperm(len(images), generator=generator(0, 0, "trust"))[:num_images]]
    pixels, stage = to_unit(chosen.images), run.network.stages[-1]
    rows = evaluate(run.network, pixels, masks=chosen.evidence, methods=method_names(), stages=[stage])
    return {
        "what": "means over test images chosen at random, single run; methods of a stage explain the last one",
        "recipe": run.recipe.to_dict(),
        "test_acc": run.results["test_acc"],
        "num_images": len(chosen),
        "rows": [
            asdict(row)
            | {"no_better_than_noise": not_better_than_noise(row, rows)}
            | {
                "passes_per_image": None
                if row.method == "random"
                else passes_per_image(run.network, pixels[:NUM_COUNTED], row.method)
            }
            for row in rows
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=["drawn", "cifar10"])
    parser.add_argument("--run", required=True)
    parser.add_argument("--data_dir", default=None)
    parser.add_argument("--num_images", type=int, default=100)
    options = parser.parse_args()
    results = measure(load(options.run), options.data_dir, options.num_images)
    print(record(f"trust_methods_{options.data}", command_line(), results))


if __name__ == "__main__":
    main()
