"""Compare all explanation methods on a trained run: faithfulness, and the passes of the network for one image.

Methods that explain a stage explain the last one. A hook counts the passes: each image in a forward pass counts one,
and each image in a backward pass counts two, because the backward pass computes two products for each product of the
forward pass.

    python benchmarks/trust_methods.py drawn --run logs/demo/version_0 --num_images 100
    python benchmarks/trust_methods.py cifar10 --run logs/page24/version_0 --data_dir DATA_DIR --num_images 50
"""

from __future__ import annotations

import argparse
from typing import Any

from torch import Tensor, nn

from firstlight.attribution import evaluate, explain, method_names
from firstlight.data.batches import to_unit
from firstlight.data.images import ImageSet
from firstlight.reports.trust import RANDOM, choose_images
from firstlight.runs.run import Run, load
from firstlight.training.retest import load_test_images
from record import command_line, record
from trust import describe

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


def measure(run: Run, images: ImageSet, num_images: int) -> dict[str, Any]:
    """Return a row for each method, which explains the last stage or the pixels, with its number of passes."""
    chosen = choose_images(images, num_images)
    pixels, stage = to_unit(chosen.images), run.network.stages[-1]
    rows = evaluate(run.network, pixels, masks=chosen.evidence, methods=method_names(), stages=[stage])
    what = "means over test images chosen at random, single run; methods of a stage explain the last one"
    results = describe(run, rows, len(chosen), what)
    for row in results["rows"]:
        is_noise = row["method"] == RANDOM
        counted = pixels[:NUM_COUNTED]
        row["passes_per_image"] = None if is_noise else passes_per_image(run.network, counted, row["method"])
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=["drawn", "cifar10"])
    parser.add_argument("--run", required=True)
    parser.add_argument("--data_dir", default=None)
    parser.add_argument("--num_images", type=int, default=100)
    options = parser.parse_args()
    run = load(options.run)
    results = measure(run, load_test_images(run, options.data_dir).test, options.num_images)
    print(record(f"trust_methods_{options.data}", command_line(), results))


if __name__ == "__main__":
    main()
