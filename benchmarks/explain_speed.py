"""Compare the speed of Grad-CAM at ResNet9's last stage with captum's, alternately on the same images.

    python benchmarks/explain_speed.py --data_dir data --run logs/adam24/version_0

Captum is measured with known classes ("captum") and with the extra forward pass that finds the predicted class
("captum, predicted"). firstlight finds the class in its only forward pass. Captum runs the network with PyTorch's
convolutions, and once more with our convolutions, which are faster in float32 on a CPU ("captum, our convolutions").
firstlight in bfloat16 is measured only on hardware with bfloat16 instructions; on other hardware the results file is
`explain_speed_fp32`. --batch_size and --captum_batch_size set the batch size of each. The results also have the
differences between the maps. Without --run the network is the bundled one.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from captum.attr import LayerGradCam
from torch import Tensor, nn

from convolutions import choose
from firstlight.attribution import explain
from firstlight.data.cifar import read_cifar10
from firstlight.export.bundle import BUNDLED_PATH
from firstlight.native import cpu
from firstlight.runs.pretrained import Pretrained
from firstlight.runs.run import Run
from firstlight.training.precision import keep_freed_memory
from record import command_line, record, spread

METHOD, STAGE = "grad_cam", "residual3"


def main() -> None:
    options = parse_options()
    kept = keep_freed_memory() if options.keep_freed_memory else False
    images, network = load_images(options), load_network(options)
    contestants = make_contestants(network, images, options)
    maps = {name: run() for name, run in contestants.items()}  # the warm-up, which also gives the maps to compare
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(options.num_trials):
        for name, run in contestants.items():
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
            print(f"{name:24} {len(images) / seconds[name][-1]:8.1f} images/s", flush=True)
    results = {
        "what": f"{METHOD} at {STAGE}, ResNet9, default width, eval mode",
        "options": {name: str(value) for name, value in vars(options).items()},
        "freed_memory_kept": kept,
        "captum": metadata.version("captum"),
        "num_images": len(images),
        "images_per_s": {name: spread([len(images) / each for each in times]) for name, times in seconds.items()},
        "speedup_fp32_over_captum": ratio(seconds, "captum", "ours fp32"),
        "speedup_fp32_over_captum_predicted": ratio(seconds, "captum, predicted", "ours fp32"),
        "agreement_fp32_with_captum": agreement(maps["ours fp32"], maps["captum"]),
        "agreement_bf16_with_captum": agreement(maps["ours bf16"], maps["captum"]) if "ours bf16" in maps else None,
    }
    print(json.dumps(results, indent=2))
    if not options.dry_run:
        name = "explain_speed" if "ours bf16" in contestants else "explain_speed_fp32"
        record(name, command_line(), results)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num_images", type=int, default=10_000)
    parser.add_argument("--num_trials", type=int, default=3)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--captum_batch_size", type=int, default=64)
    parser.add_argument(
        "--data_dir", type=Path, help="the folder with the official CIFAR-10 files; without it the images are noise"
    )
    parser.add_argument("--run", type=Path, help="a run folder with a trained ResNet9; without it the bundled network")
    parser.add_argument("--keep_freed_memory", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--dry_run", action="store_true", help="print only, write no result")
    return parser.parse_args()


def load_images(options: argparse.Namespace) -> Tensor:
    if options.data_dir is None:
        return torch.rand(options.num_images, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return read_cifar10(options.data_dir, "test").images[: options.num_images].float() / 255


def load_network(options: argparse.Namespace) -> nn.Module:
    return Run(options.run).network if options.run is not None else Pretrained(BUNDLED_PATH).network


def make_contestants(
    network: nn.Module, images: Tensor, options: argparse.Namespace
) -> dict[str, Callable[[], Tensor]]:
    """Return for each contestant a function that computes the maps [n 4 4] of all images."""
    classes = explain(network, images, method=METHOD, stage=STAGE, batch_size=options.batch_size).classes
    plain = choose(copy.deepcopy(network), "direct")

    def our_maps(**precision: Any) -> Tensor:
        return explain(network, images, method=METHOD, stage=STAGE, batch_size=options.batch_size, **precision).maps

    def our_bf16_maps() -> Tensor:
        return our_maps(precision="bf16", target=classes)

    def captum_maps(network: nn.Module, is_class_known: bool = True) -> Tensor:
        captum = LayerGradCam(network, network.get_submodule(STAGE))
        maps = []
        batches = (each.split(options.captum_batch_size) for each in (images, classes))
        for batch, batch_classes in zip(*batches, strict=True):
            with torch.inference_mode():
                target = batch_classes if is_class_known else network(batch).argmax(dim=1)
            maps.append(captum.attribute(batch, target.clone())[:, 0].detach())
        return torch.cat(maps)

    contestants: dict[str, Callable[[], Tensor]] = {
        "ours fp32": our_maps,
        "captum": lambda: captum_maps(plain),
        "captum, predicted": lambda: captum_maps(plain, is_class_known=False),
        "captum, our convolutions": lambda: captum_maps(network),
    }
    if cpu.multiplies_bfloat16():
        contestants["ours bf16"] = our_bf16_maps
    return contestants


def ratio(seconds: dict[str, list[float]], slow: str, fast: str) -> dict[str, Any]:
    """Return the ratio of two times trial by trial, because a busy machine slows both."""
    return spread([a / b for a, b in zip(seconds[slow], seconds[fast], strict=True)])


def agreement(found: Tensor, expected: Tensor) -> dict[str, float]:
    """Compare maps: each image's largest difference relative to its map's maximum, and how often the peaks agree."""
    error = (found - expected).abs().amax(dim=(1, 2)) / expected.abs().amax(dim=(1, 2))
    same_peak = found.flatten(1).argmax(dim=1) == expected.flatten(1).argmax(dim=1)
    return {
        "relative_difference_max": float(error.max()),
        "relative_difference_median": float(error.median()),
        "share_within_2_percent": float((error <= 0.02).float().mean()),
        "share_same_peak_cell": float(same_peak.float().mean()),
    }


if __name__ == "__main__":
    main()
