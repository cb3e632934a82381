"""How many planted near copies does the audit find, how many of its findings are copies, and how long does it take?

    python benchmarks/planted_copies.py --data_dir DATA_DIR
    python benchmarks/planted_copies.py --data_dir DATA_DIR --num_images 6000 --num_copies 120

Some images (--num_copies) are replaced by changed copies of other images: shifted by 3 pixels, mirrored, cropped to
90 % of the side and enlarged, compressed as JPEG of quality 50, brightened by 20 %, or enlarged to 48 pixels and back.
CIFAR-10 has near copies of its own, so two kinds of pair count neither as right nor as wrong, and only their number is
recorded: pairs without a planted copy, and pairs of a planted copy with an image that was also found to be a copy of
its original. The results file is `planted_copies.json`; --dry_run writes none.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageEnhance
from torch import Tensor

from firstlight.data.rng import generator
from firstlight.data.source import open_source
from firstlight.evaluation import near_copies
from record import command_line, record

Picture = UInt8[np.ndarray, "h w 3"]


class Copy(NamedTuple):
    """A planted copy: the index of its original, and how it was changed."""

    original: int
    kind: str


def main() -> None:
    options = parse_options()
    source = open_source(options.data, options.data_dir)
    images = torch.cat([source.train().images, source.test().images])
    draw = generator(0, 0, "planted copies")
    order = torch.randperm(len(images), generator=draw)
    num = options.num_images or len(images)
    copied, replaced = order[: options.num_copies], order[options.num_copies : 2 * options.num_copies]
    kept = order[:num].sort().values
    kinds = list(CHANGES)
    for number, (original, copy) in enumerate(zip(copied.tolist(), replaced.tolist(), strict=True)):
        images[copy] = changed(images[original], kinds[number % len(kinds)], draw)
    position = {row: number for number, row in enumerate(kept.tolist())}
    planted = {
        position[copy]: Copy(position[original], kinds[number % len(kinds)])
        for number, (original, copy) in enumerate(zip(copied.tolist(), replaced.tolist(), strict=True))
    }
    started, started_cpu = time.perf_counter(), time.process_time()
    found = near_copies.find_near_copies(images[kept])
    seconds, cpu_s = time.perf_counter() - started, time.process_time() - started_cpu
    results = describe(found, planted) | {
        "num_images": num,
        "seconds": seconds,
        "cpu_s": cpu_s,
        "threads": torch.get_num_threads(),
        "largest_memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }
    print(json.dumps(results, indent=2))
    if not options.dry_run:
        record("planted_copies", command_line(), results)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--data_dir", type=Path, default=Path("data"))
    parser.add_argument("--num_images", type=int, default=0, help="images chosen at random; 0 for all")
    parser.add_argument("--num_copies", type=int, default=500)
    parser.add_argument("--dry_run", action="store_true", help="print only, write no result")
    return parser.parse_args()


def describe(found: Any, planted: dict[int, Copy]) -> dict[str, Any]:
    """Return recall by kind, precision among the pairs with a planted copy, and the number of the other pairs.

    Args:
        found: Near copies that were found.
        planted: What was planted, by the index of the copy.
    """
    pairs = {frozenset(pair) for pair in found.pairs.tolist()}
    hits = {copy for copy, each in planted.items() if frozenset((copy, each.original)) in pairs}
    false, unknown = 0, 0
    for pair in pairs:
        for copy in pair & planted.keys():
            (other,) = pair - {copy}
            original = planted[copy].original
            if other != original:
                is_copy_of_original = frozenset((other, original)) in pairs
                unknown, false = unknown + is_copy_of_original, false + (not is_copy_of_original)
    kinds = {kind: [copy for copy, each in planted.items() if each.kind == kind] for kind in CHANGES}
    return {
        "num_planted": len(planted),
        "num_found": len(hits),
        "recall": len(hits) / len(planted),
        "recall_by_kind": {kind: sum(copy in hits for copy in each) / len(each) for kind, each in kinds.items()},
        "num_false_with_planted": false,
        "num_with_copies_of_the_original": unknown,
        "precision": len(hits) / max(1, len(hits) + false),
        "num_other_pairs": len([pair for pair in pairs if not pair & planted.keys()]),
        "num_candidates": found.num_candidates,
    }


def changed(image: UInt8[Tensor, "3 h w"], kind: str, draw: torch.Generator) -> UInt8[Tensor, "3 h w"]:
    """Return a changed copy of an image."""
    sign = [2 * int(torch.randint(2, (1,), generator=draw)) - 1 for _ in range(2)]
    picture = CHANGES[kind](image.numpy().transpose(1, 2, 0), sign)
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))


def _shift(picture: Picture, sign: list[int]) -> Picture:
    padded = np.pad(picture, ((3, 3), (3, 3), (0, 0)), mode="reflect")
    return padded[3 + 3 * sign[0] :, 3 + 3 * sign[1] :][: picture.shape[0], : picture.shape[1]]


def _crop(picture: Picture, sign: list[int]) -> Picture:
    side = round(0.9 * picture.shape[0])
    top, left = ((picture.shape[0] - side) * (1 + each) // 2 for each in sign)
    return _resized(picture[top : top + side, left : left + side], picture.shape[0])


def _jpeg(picture: Picture, _: list[int]) -> Picture:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=50)
    return np.asarray(Image.open(stream))


def _resized(picture: Picture, side: int) -> Picture:
    return np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC))


CHANGES: dict[str, Callable[[Picture, list[int]], Picture]] = {
    "shift": _shift,
    "mirror": lambda picture, _: picture[:, ::-1],
    "crop": _crop,
    "jpeg": _jpeg,
    "brightness": lambda picture, _: np.asarray(ImageEnhance.Brightness(Image.fromarray(picture)).enhance(1.2)),
    "resize": lambda picture, _: _resized(_resized(picture, 48), picture.shape[0]),
}


if __name__ == "__main__":
    main()
