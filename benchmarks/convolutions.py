"""Compare training steps of ResNet9 with PyTorch's convolutions and with ours, alternately in one process.

Both train the same network on the same random images: forward, loss, backward, optimizer step. The result also has the
rounding error of each: the largest relative difference of the first step's gradients from those in float64.

    python benchmarks/convolutions.py --num_turns 5 --num_steps 2
    python benchmarks/convolutions.py --num_turns 5 --num_steps 2 --precision bf16-mixed

The results file has the name of our algorithm: `winograd`, `winograd_bf16` or, on a CPU with AMX, `amx_bf16`.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from firstlight.layers.conv3x3 import Conv3x3
from firstlight.networks import ResNet9, ResNet9Config
from firstlight.training.precision import keep_freed_memory
from record import command_line, record, spread

ALGORITHMS = {"direct": False, "ours": True}  # name -> `Conv3x3.fast`


def choose(network: nn.Module, algorithm: str) -> nn.Module:
    """Select the algorithm of the network's convolutions."""
    for layer in network.modules():
        if isinstance(layer, Conv3x3):
            layer.fast = ALGORITHMS[algorithm]
    return network


def loss_of(network: nn.Module, images: Tensor, labels: Tensor, precision: str) -> Tensor:
    """Compute the loss in a precision."""
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
        return F.cross_entropy(network(images), labels)


def gradients(network: nn.Module, images: Tensor, labels: Tensor, precision: str) -> list[Tensor]:
    """Return the gradient of the loss for every parameter, converted to float64."""
    network = copy.deepcopy(network)
    loss_of(network, images, labels, precision).backward()
    return [p.grad.double() for p in network.parameters() if p.grad is not None]


def rounding(network: nn.Module, images: Tensor, labels: Tensor, precision: str) -> dict[str, float]:
    """Return for each algorithm the largest relative error of a parameter's gradient, in the 2-norm."""
    exact = gradients(copy.deepcopy(network).double(), images.double(), labels, "64-true")
    found = {algorithm: gradients(choose(network, algorithm), images, labels, precision) for algorithm in ALGORITHMS}
    return {
        algorithm: max(float((g - e).norm() / e.norm()) for g, e in zip(got, exact, strict=True))
        for algorithm, got in found.items()
    }


def our_algorithm(images: Tensor, precision: str) -> str:
    """Return the name of the algorithm that a wide layer uses on this machine."""
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
        algorithm = Conv3x3(64, 64).algorithm(images.new_empty(len(images), 64, 16, 16))
    if algorithm is None:
        sys.exit(f"on this machine no algorithm is faster than PyTorch's in {precision}: there is nothing to measure")
    return algorithm.name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num_turns", type=int, default=5)
    parser.add_argument("--num_steps", type=int, default=2)
    parser.add_argument("--batch_size", type=int, default=512)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--precision", choices=["32-true", "bf16-mixed"], default="32-true")
    options = parser.parse_args()
    keep_freed_memory()
    torch.manual_seed(0)
    network = ResNet9(10, ResNet9Config(width=options.width)).train()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.rand(options.batch_size, 3, 32, 32).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (options.batch_size,))
    name = our_algorithm(images, options.precision)
    errors = rounding(network, images[:64], labels[:64], options.precision)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    rates: dict[str, list[float]] = {algorithm: [] for algorithm in ALGORITHMS}
    for turn in range(options.num_turns + 1):
        for algorithm, found in rates.items():
            choose(network, algorithm)
            started_s = time.perf_counter()
            for _ in range(options.num_steps):
                optimizer.zero_grad()
                loss_of(network, images, labels, options.precision).backward()
                optimizer.step()
            rate = options.num_steps * options.batch_size / (time.perf_counter() - started_s)
            if turn:  # the first turn warms up
                found.append(rate)
                print(f"{algorithm} {rate:.1f} images/s", flush=True)
    ratios = [fast / direct for fast, direct in zip(rates["ours"], rates["direct"], strict=True)]
    results = {
        "what": f"training images per second, ResNet9, {options.precision}, channels_last, bare loop",
        "batch_size": options.batch_size,
        "width": options.width,
        "gradient_error": errors,
        "ratio": spread(ratios),
    }
    if options.precision != "32-true":
        name = f"{name}_bf16"
    print(record(name, command_line(), results | {algorithm: spread(found) for algorithm, found in rates.items()}))


if __name__ == "__main__":
    main()
