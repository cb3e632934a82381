"""Measure exported ONNX files beside PyTorch: agreement and accuracy of each format of the weights, and speed.

    python benchmarks/onnx_export.py accuracy --weights int8 --data_dir DATA_DIR
    python benchmarks/onnx_export.py speed --data_dir DATA_DIR

`accuracy` appends a line to `results/onnx_accuracy.jsonl`: the accuracy on all test images, and the differences between
its logits and maps and PyTorch's on the first of them. `speed` writes `results/onnx_speed.json`: images per second with
Grad-CAM at the last stage, of `explain` in float32 and of ONNX Runtime with each format, measured alternately. The
model is the bundled one.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from firstlight.arrays import Images
from firstlight.attribution import explain
from firstlight.data.batches import to_unit
from firstlight.data.images import ImageSet
from firstlight.data.source import Source
from firstlight.export.bundle import Bundle, bundled
from firstlight.export.onnx.maps_graph import METHODS
from firstlight.export.onnx.model_file import build_model
from firstlight.export.onnx.onnx_source import OnnxSource
from firstlight.export.onnx.session import OnnxModel
from firstlight.export.onnx.verification import MAX_DIFFERENCE
from firstlight.export.onnx.weight_formats import WeightsName
from firstlight.runs.environment import describe_environment
from record import append_line, command_line, record, spread

FORMATS: tuple[WeightsName, ...] = ("float32", "float16", "int8")
BATCH_SIZE = 64


def main() -> None:
    options = parse_options()
    bundle = bundled()
    data = OnnxSource.of_bundle(bundle).open_data(options.data_dir)
    if options.what == "accuracy":
        line = measure_accuracy(bundle, data, options)
        print(json.dumps(line, indent=2))
        if not options.dry_run:
            append_line("onnx_accuracy", line | versions() | describe_environment() | {"command": command_line()})
        return
    results = measure_speed(bundle, data, options)
    print(json.dumps(results, indent=2))
    if not options.dry_run:
        record("onnx_speed", command_line(), results)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("accuracy", "speed"))
    parser.add_argument("--data_dir", type=Path, required=True, help="the folder with the official CIFAR-10 files")
    parser.add_argument("--weights", choices=FORMATS, default="float32", help="the format whose accuracy to measure")
    parser.add_argument("--num_images", type=int, default=10_000, help="test images for the accuracy")
    parser.add_argument("--num_compared", type=int, default=1_000, help="test images for the differences")
    parser.add_argument("--num_compared_early", type=int, default=64, help="the same for the maps of earlier stages")
    parser.add_argument("--num_timed", type=int, default=256, help="test images of a turn")
    parser.add_argument("--num_turns", type=int, default=5)
    parser.add_argument("--dry_run", action="store_true", help="print only, write no result")
    return parser.parse_args()


def versions() -> dict[str, Any]:
    return {"onnx": {name: metadata.version(name) for name in ("onnx", "onnxruntime")}}


def measure_accuracy(bundle: Bundle, data: Source, options: argparse.Namespace) -> dict[str, Any]:
    made, stages = build_model(bundle, options.weights, data)
    content = made.SerializeToString()
    model, test = OnnxModel(content), data.test()[: options.num_images]
    logits = model.run(test.images, torch.full((len(test),), -1))["logits"]
    return {
        "weights": options.weights,
        "model": bundle.title,
        "num_bytes": len(content),
        "num_images": len(test),
        "accuracy": float((logits.argmax(dim=1) == test.labels).double().mean()),
        "accuracy_pytorch": bundle.measured["test"]["single_view"],
        "num_images_pytorch": bundle.measured["test"]["num_images"],
    } | compare(bundle, model, stages, test, options)


def compare(
    bundle: Bundle, model: OnnxModel, stages: tuple[str, ...], test: ImageSet, options: argparse.Namespace
) -> dict[str, Any]:
    """Return the differences from PyTorch, each the largest of an image's: largest, median, and share within 1e-4."""
    maps: dict[str, dict[str, Any]] = {}
    for index, stage in enumerate(stages):
        is_last = stage == stages[-1]
        images = test.images[: options.num_compared if is_last else options.num_compared_early]
        for method in ("grad_cam", "hires_cam"):
            expected = explain(bundle.network, to_unit(images), method=method, stage=stage)
            found = model.run(images, expected.classes, list(METHODS).index(method), index)
            maps[f"{method} at {stage}"] = differences(found["map"] - expected.maps)
            if is_last and method == "grad_cam":
                logits = found["logits"] - expected.logits
                same_class = (found["logits"].argmax(dim=1) == expected.classes).double().mean()
    return {"logits": differences(logits), "same_class": float(same_class), "maps": maps}


def differences(found: Tensor) -> dict[str, float]:
    largest = found.abs().flatten(1).amax(dim=1)
    return {
        "num_images": len(largest),
        "largest": float(largest.max()),
        "median": float(largest.median()),
        "share_within_limit": float((largest <= MAX_DIFFERENCE).double().mean()),
    }


def measure_speed(bundle: Bundle, data: Source, options: argparse.Namespace) -> dict[str, Any]:
    images = data.test().images[: options.num_timed]
    contestants: dict[str, Callable[[], object]] = {"explain": lambda: explain(bundle.network, to_unit(images))}
    for weights in FORMATS:
        content = build_model(bundle, weights, data)[0].SerializeToString()
        contestants[weights] = runner(OnnxModel(content), images)
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for run in contestants.values():  # the warm-up
        run()
    for _ in range(options.num_turns):
        for name, run in contestants.items():
            started = time.perf_counter()
            run()
            rates[name].append(len(images) / (time.perf_counter() - started))
            print(f"{name:10} {rates[name][-1]:8.1f} images/s", flush=True)
    return {
        "what": "images/s with Grad-CAM at the last stage: explain in float32, and ONNX Runtime with each format",
        "num_images": len(images),
        "batch_size": BATCH_SIZE,
        "images_per_s": {name: spread(values) for name, values in rates.items()},
    } | versions()


def runner(model: OnnxModel, images: Images) -> Callable[[], object]:
    predicted = torch.full((len(images),), -1)
    return lambda: model.run(images, predicted)


if __name__ == "__main__":
    main()
