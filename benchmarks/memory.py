"""Train on more images than memory: the peak of memory under a limit, and images a second beside images in memory.

Three measurements. (1) A folder of PNG files is decoded into the cache: images a second on all cores. (2) `fit` trains
on two million made images, 6 GB in the format of the cache, in a process whose RLIMIT_DATA is 3 GB. This limits
anonymous memory (heap, stacks, private writable mappings), not the system's page cache; the peak of anonymous memory is
read from /proc. The same process, told to load the images, must refuse. (3) Without the limit, one network trains
alternately on batches from the file and from memory, a few steps each, so that a busy machine slows both.

    python benchmarks/memory.py --folder SCRATCH
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from PIL import Image
from torch.nn import functional as F

from firstlight.cli.quiet import quiet_lightning
from firstlight.data.batches import Augmentation, Batch, Batches
from firstlight.data.cifar import Split
from firstlight.data.drawn import read_drawn
from firstlight.data.folder.block_pool import num_cores
from firstlight.data.folder.image_map import open_image_map, write_index
from firstlight.data.folder.open_layout import open_layout
from firstlight.data.folder.reader import read_split
from firstlight.data.images import ImageSet
from firstlight.data.mapped_images import MappedImages
from firstlight.data.sampler import EpochSampler
from firstlight.data.source import SOURCES
from firstlight.errors import FirstlightError
from firstlight.networks import build_network
from firstlight.paths import CACHE, IMAGE_MEMORY
from firstlight.recipes import get_recipe
from firstlight.training.fit import fit
from firstlight.training.precision import default_precision, keep_freed_memory
from record import command_line, record, spread

SIZE_PX = 32
SETTINGS = "made by benchmarks/memory.py"
CHUNK = 20_000  # images that are made at a time
NUM_WARM_UP = 20  # steps that are not timed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="scratch folder, which is removed in the end")
    parser.add_argument("--num_images", type=int, default=2_000_000)
    parser.add_argument("--num_png", type=int, default=100_000)
    parser.add_argument("--num_steps", type=int, default=200)
    parser.add_argument("--num_turns", type=int, default=10)
    parser.add_argument("--steps_a_turn", type=int, default=20)
    parser.add_argument("--limit_gb", type=float, default=3.0)
    parser.add_argument("--name", default="memory", help="name of the results")
    parser.add_argument("--limited", action="store_true", help=argparse.SUPPRESS)  # for the process with the limit
    options = parser.parse_args()
    quiet_lightning()
    if options.limited:
        print(json.dumps(train_limited(options)))
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    load_before = os.getloadavg()[0]
    try:
        results: dict[str, Any] = {"building": measure_building(options.folder, options.num_png)}
        make_map(options.folder / "made.images", options.num_images)
        for name, measure in (("turns", lambda: measure_turns(options)), ("limited", run_limited)):
            results[name] = measure()
            print(f"{name}: {json.dumps(results[name])}", flush=True)
    finally:
        shutil.rmtree(options.folder)
    results |= {
        "num_images": options.num_images,
        "image_bytes": options.num_images * 3 * SIZE_PX**2,
        "num_cores": num_cores(),
        "load_average_before": load_before,
        "load_average_after": os.getloadavg()[0],
    }
    print(record(options.name, command_line().replace(str(options.folder), "SCRATCH"), results))


def measure_building(folder: Path, num_png: int) -> dict[str, Any]:
    """Decode PNG files into the cache, and return the images a second."""
    images = read_drawn("train")
    for name in images.class_names:
        (folder / "photos" / name).mkdir(parents=True)
    for number in range(num_png):
        row = number % len(images)
        path = folder / "photos" / images.class_names[int(images.labels[row])] / f"{number:07}.png"
        Image.fromarray(images.image_at(row).permute(1, 2, 0).numpy()).save(path, compress_level=1)
    os.environ[CACHE] = str(folder / "cache")
    started_s = time.perf_counter()
    layout = open_layout(folder / "photos")
    listed_s = time.perf_counter()
    read_split(layout, "test", SIZE_PX)
    built_s = time.perf_counter()
    read_split(layout, "test", SIZE_PX)
    opened_s = time.perf_counter()
    shutil.rmtree(folder / "photos")
    return {
        "num_images": num_png,
        "listing_s": listed_s - started_s,
        "building_s": built_s - listed_s,
        "opening_again_s": opened_s - built_s,
        "images_per_s": num_png / (built_s - listed_s),
    }


def make_map(path: Path, num_images: int) -> None:
    """Write drawn images in the format of the cache, each with 8 random bytes in a corner, so that none is a copy."""
    drawn, draw = read_drawn("train"), np.random.default_rng(0)
    stored = drawn.images.permute(0, 2, 3, 1).contiguous().numpy()
    rows = draw.integers(0, len(drawn), num_images)
    with path.open("wb") as file:
        for first in range(0, num_images, CHUNK):
            chunk = stored[rows[first : first + CHUNK]]
            chunk.reshape(len(chunk), -1)[:, :8] = draw.integers(0, 256, (len(chunk), 8), dtype=np.uint8)
            file.write(chunk.data)
        keys = draw.integers(1, 2**63, (num_images, 2)).astype(np.uint64)
        names = [f"{number:07}.png" for number in range(num_images)]
        write_index(file, SETTINGS, keys, drawn.labels.numpy()[rows], drawn.class_names, names, [])


def read_made(folder: Path, split: Split) -> ImageSet:
    """Open the made images as the train split; the test split is that of the drawn images."""
    if split == "test":
        return read_drawn("test")
    found = open_image_map(folder / "made.images", SETTINGS, SIZE_PX)
    assert found is not None
    pixels = MappedImages(found.pixels)
    if os.environ.get(IMAGE_MEMORY):  # for the control
        return ImageSet(pixels.load("the made images"), torch.from_numpy(found.labels), found.class_names)
    labels = torch.from_numpy(found.labels.copy())
    return ImageSet(pixels, labels, found.class_names, name="made")  # type: ignore[arg-type]


def run_limited() -> dict[str, Any]:
    """Train in a process with a limit; the control must refuse to load the images."""
    command = [sys.executable, __file__, *sys.argv[1:], "--limited"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    environment = os.environ | {IMAGE_MEMORY: "1000"}
    control = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return found | {"in_memory": json.loads(control.stdout.splitlines()[-1]).get("error", "trained")}


class Pace(pl.Callback):
    """Count images and seconds after the first steps."""

    def __init__(self) -> None:
        self.num_steps = self.num_images = 0
        self.seconds = 0.0

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Batch, batch_idx: int) -> None:
        self.num_steps += 1
        if self.num_steps == NUM_WARM_UP:
            self.started_s = time.perf_counter()
        elif self.num_steps > NUM_WARM_UP:
            self.num_images += len(batch.labels)
            self.seconds = time.perf_counter() - self.started_s


def train_limited(options: argparse.Namespace) -> dict[str, Any]:
    """Train under RLIMIT_DATA and return the peaks of memory and the images a second."""
    limit_bytes = int(options.limit_gb * 1e9)
    resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))
    SOURCES["made"] = read_made
    recipe = replace(get_recipe("demo"), name="memory", data="made", num_val=5000, max_epochs=1)
    pace, peaks = Pace(), PeakMemory()
    started_s = time.perf_counter()
    try:
        run = fit(
            recipe,
            options.folder,
            options.folder / "logs",
            logger="none",
            callbacks=[pace],
            max_steps=options.num_steps,
            enable_progress_bar=False,
        )
    except FirstlightError as error:
        return {"error": str(error)}
    return {
        "rlimit_data_bytes": limit_bytes,
        "num_steps": pace.num_steps,
        "batch_size": recipe.batch_size,
        "images_per_s": pace.num_images / pace.seconds,
        "fit_s": time.perf_counter() - started_s,
        "test_acc": run.results["test_acc"],
        "peak_anonymous_bytes": peaks.peak_bytes("RssAnon"),
        "peak_data_bytes": peaks.peak_bytes("VmData"),
    }


class PeakMemory:
    """Reads this process's memory every 50 ms, in a thread."""

    def __init__(self) -> None:
        self._peaks: dict[str, int] = {}
        threading.Thread(target=self._watch, daemon=True).start()

    def peak_bytes(self, field: str) -> int:
        """Return the largest value of a field of /proc/self/status so far."""
        return self._peaks[field]

    def _watch(self) -> None:
        while True:
            for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
                name, _, value = line.partition(":")
                if name in ("RssAnon", "VmData"):
                    self._peaks[name] = max(self._peaks.get(name, 0), int(value.split()[0]) * 1024)
            time.sleep(0.05)


def measure_turns(options: argparse.Namespace) -> dict[str, Any]:
    """Train one network alternately on batches from the file and from memory."""
    keep_freed_memory()
    streamed = read_made(options.folder, "train")
    assert isinstance(streamed.pixels, MappedImages)
    loaded = streamed.pixels.gather(torch.arange(len(streamed)))  # channels_last, as Batches keeps them
    batches = {
        name: epochs(
            Batches(images, EpochSampler(len(images), 512, shuffle=True, seed=0), Augmentation(4, "random", 0))
        )
        for name, images in (("file", streamed), ("memory", streamed.changed(images=loaded)))
    }
    recipe = get_recipe("demo")
    network = build_network(10, recipe.network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
    rates: dict[str, list[float]] = {"file": [], "memory": []}
    for turn in range(options.num_turns + 1):
        for name in ("file", "memory") if turn % 2 else ("memory", "file"):
            started_s, num_images = time.perf_counter(), 0
            for _ in range(options.steps_a_turn):
                batch = next(batches[name])
                with torch.autocast("cpu", torch.bfloat16, enabled=default_precision("cpu") == "bf16-mixed"):
                    loss = F.cross_entropy(network(batch.images), batch.labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                num_images += len(batch.labels)
            if turn:  # the first turn warms up
                rates[name].append(num_images / (time.perf_counter() - started_s))
    ratios = [file / memory for file, memory in zip(rates["file"], rates["memory"], strict=True)]
    return {
        "batch_size": 512,
        "steps_a_turn": options.steps_a_turn,
        "file_images_per_s": spread(rates["file"]),
        "memory_images_per_s": spread(rates["memory"]),
        "ratio": spread(ratios),
    }


def epochs(batches: Batches) -> Iterator[Batch]:
    """Yield the batches of one epoch after the other."""
    for epoch in range(1000):
        batches.sampler.set_epoch(epoch)
        yield from batches


if __name__ == "__main__":
    main()
