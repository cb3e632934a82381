"""Measure the time to make a batch (crop, flip, cutout, conversion to float) as a share of a ResNet9 training step.

python benchmarks/batches.py --num_turns 10
"""

from __future__ import annotations

import argparse
import time

import torch
from torch.nn import functional as F

from firstlight.data.batches import Augmentation, Batches
from firstlight.data.sampler import EpochSampler
from firstlight.networks import ResNet9
from firstlight.training.bench import noise_images
from firstlight.training.precision import default_precision, keep_freed_memory
from record import command_line, record, spread


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num_turns", type=int, default=10)
    parser.add_argument("--batch_size", type=int, default=512)
    options = parser.parse_args()
    keep_freed_memory()
    images = noise_images(options.batch_size * (options.num_turns + 2))
    sampler = EpochSampler(len(images), options.batch_size, shuffle=True, seed=0)
    batches = iter(Batches(images, sampler, Augmentation(crop_px=4, flip="random", cutout_px=8)))
    network = ResNet9(10).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(network.parameters(), lr=0.001)
    uses_bfloat16 = default_precision("cpu") == "bf16-mixed"
    making_s, step_s = [], []
    for turn in range(options.num_turns + 2):  # the first two turns warm up
        started_s = time.perf_counter()
        batch = next(batches)
        made_s = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=uses_bfloat16):
            loss = F.cross_entropy(network(batch.images), batch.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
        if turn >= 2:
            making_s.append(made_s - started_s)
            step_s.append(time.perf_counter() - made_s)
    shares = [made / (made + step) for made, step in zip(making_s, step_s, strict=True)]
    results = {
        "what": "seconds to make a batch and seconds of the step that uses it; share of the batch in both",
        "batch_size": options.batch_size,
        "precision": default_precision("cpu"),
        "making_s": spread(making_s),
        "step_s": spread(step_s),
        "share": spread(shares),
    }
    print(record("batches", command_line(), results))


if __name__ == "__main__":
    main()
