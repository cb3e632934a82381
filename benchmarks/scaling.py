"""Measure the terms of a training step with several processes, and compute strong scaling to 64 processes from them.

A step of one process with one thread is timed at several numbers of images; a line through the times gives the fixed
part and the time for each image. The all-reduce of the gradients is timed between two processes (gloo) at two sizes,
which gives latency and bandwidth. A step of two processes is measured, too, to compare it with the formula. The steps
are also computed for a faster, hypothetical network.

    python benchmarks/scaling.py --num_turns 3
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from firstlight.networks import ResNet9
from record import command_line, record, spread

BATCH_SIZE = 128
SHARES = (16, 32, 64, 128)  # images of a step in one process
PROCESSES = (1, 2, 4, 8, 16, 32, 64)
HYPOTHETICAL = {"bandwidth_bytes_s": 10e9, "latency_s": 20e-6}  # 100 Gbit/s, of which 80 % arrive
NUM_TIMED = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num_turns", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    load_before = os.getloadavg()[0]
    one: dict[int, list[float]] = {share: [] for share in SHARES}
    two: list[float] = []
    reduces: dict[int, list[float]] = {}
    num_bytes = 4 * sum(parameter.numel() for parameter in ResNet9(10).parameters())
    for _ in range(options.num_turns):
        for share, found in one.items():
            found += step_times(share)
        measured = two_processes(num_bytes)
        two += measured["step"]
        for size in (4096, num_bytes):
            reduces.setdefault(size, []).extend(measured[str(size)])
    image_s, fixed_s = np.polyfit(SHARES, [min(one[share]) for share in SHARES], 1)
    latency_s = min(reduces[4096]) / 2  # a ring of two sends twice
    bandwidth = num_bytes / max(min(reduces[num_bytes]) - 2 * latency_s, 1e-9)  # a ring of two sends all bytes once
    networks = {
        "measured": {"bandwidth_bytes_s": bandwidth, "latency_s": latency_s},
        "hypothetical": HYPOTHETICAL,
    }
    results = {
        "what": f"ResNet9, {BATCH_SIZE} images a step over all processes, one thread each, float32; fastest times",
        "one_process_step_s": {str(share): spread(found) for share, found in one.items()},
        "two_processes_step_s": spread(two),
        "all_reduce_s": {str(size): spread(found) for size, found in reduces.items()},
        "gradient_bytes": num_bytes,
        "fixed_s": float(fixed_s),
        "image_s": float(image_s),
        "networks": networks,
        "computed_step_s": {
            name: {str(n): step_s(n, fixed_s, image_s, num_bytes, **terms) for n in PROCESSES}
            for name, terms in networks.items()
        },
        "load_average_1_min_before": load_before,
    }
    print(results)
    print(record("scaling", command_line(), results))


def step_s(n: int, fixed_s: float, image_s: float, num_bytes: int, bandwidth_bytes_s: float, latency_s: float) -> float:
    """Return the computed seconds of a step with `n` processes: nothing overlaps, so this is an upper bound."""
    ring_s = 2 * (n - 1) / n * num_bytes / bandwidth_bytes_s + 2 * (n - 1) * latency_s
    return float(fixed_s + image_s * BATCH_SIZE / n + ring_s)


def step_times(num_images: int, wrap: Callable[[torch.nn.Module], torch.nn.Module] = lambda each: each) -> list[float]:
    """Return the seconds of some training steps after one warm-up step."""
    torch.manual_seed(0)
    network = wrap(ResNet9(10).train())
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    images, labels = torch.rand(num_images, 3, 32, 32), torch.randint(10, (num_images,))

    def step() -> None:
        F.cross_entropy(network(images), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    return timed(step)


def timed(work: Callable[[], object]) -> list[float]:
    """Return the seconds of some calls after the first."""
    work()
    found = []
    for _ in range(NUM_TIMED):
        started_s = time.perf_counter()
        work()
        found.append(time.perf_counter() - started_s)
    return found


def two_processes(num_bytes: int) -> dict[str, list[float]]:
    """Return the seconds of a step, and of an all-reduce at two sizes, in two processes."""
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(_rank, (folder, num_bytes), nprocs=2)
        return dict(torch.load(Path(folder, "times.pt"), weights_only=True))


def _rank(rank: int, folder: str, num_bytes: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    times: dict[str, list[float]] = {}
    for size in (4096, num_bytes):
        gradient = torch.zeros(size // 4)
        times[str(size)] = timed(lambda gradient=gradient: dist.all_reduce(gradient))  # type: ignore[misc]
    times["step"] = step_times(BATCH_SIZE // 2, DistributedDataParallel)
    if rank == 0:
        torch.save(times, Path(folder, "times.pt"))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
