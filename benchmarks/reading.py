"""Measure the time to read and verify the 60,000 images of CIFAR-10, from each of its two versions.

python benchmarks/reading.py --data_dir DATA_DIR --num_turns 7
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from firstlight.data.cifar import read_cifar10
from record import command_line, record, spread


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", type=Path, default="data")
    parser.add_argument("--num_turns", type=int, default=7)
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {"cifar-10-batches-bin": [], "cifar-10-batches-py": []}
    for turn in range(options.num_turns + 1):  # alternately; the first turn fills the system's cache and is not counted
        for version, found in seconds.items():
            started_s = time.perf_counter()
            count = sum(len(read_cifar10(options.data_dir / version, split)) for split in ("train", "test"))
            assert count == 60_000
            if turn:
                found.append(time.perf_counter() - started_s)
    results = {"what": "seconds to read and verify 60,000 images, files in the system's cache"}
    print(record("reading", command_line(), results | {version: spread(found) for version, found in seconds.items()}))


if __name__ == "__main__":
    main()
