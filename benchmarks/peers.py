"""Compare a recipe with another program's training script; both run alternately on the same machine.

The peer is any script that trains, prints its accuracy and seconds, and ends. It runs unchanged, in its own folder. Two
regular expressions with one group each extract its numbers from its output. The defaults read the table of the airbench
scripts ("eval" rows: accuracy with tta, seconds); every row but the first, a warm-up on random labels, is one run.

    python benchmarks/peers.py --peer ~/cifar10-airbench/airbench94_muon.py --recipe airbench94 --data_dir DATA_DIR
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

import torch

from record import command_line, record, spread

ACCURACY = r"\|\s+eval\s+\|.*\|\s+([0-9.]+)\s+\|\s+[0-9.]+\s+\|\s*$"
SECONDS = r"\|\s+eval\s+\|.*\|\s+([0-9.]+)\s+\|\s*$"
OUR_ACCURACY = r"test_acc_tta ([0-9.]+)"
OUR_SECONDS = r"\bseconds ([0-9.]+)"


def numbers(text: str, pattern: str) -> list[float]:
    """Return all numbers that a pattern finds in a text, line by line."""
    return [float(each) for each in re.findall(pattern, text, flags=re.MULTILINE)]


def run(
    command: list[str], folder: Path, accuracy: str, seconds: str, num_warmups: int
) -> tuple[list[float], list[float]]:
    """Run a script to its end and return the accuracies and seconds that it prints, without the warm-ups."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    found = numbers(done.stdout, accuracy)[num_warmups:], numbers(done.stdout, seconds)[num_warmups:]
    if done.returncode or not all(found):
        tail = (done.stderr or done.stdout).strip().splitlines()[-1:]
        sys.exit(f"{command[1]}: ended with {done.returncode} and printed no result ({' '.join(tail)})")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, required=True)
    parser.add_argument("--recipe", default="airbench94")
    parser.add_argument("--data_dir", default="data", type=Path)
    parser.add_argument("--num_turns", type=int, default=3)
    parser.add_argument("--num_seeds", type=int, default=1, help="runs of our recipe in a turn")
    parser.add_argument(
        "--steps", default="recorded", help="the kind of steps of our recipe on a GPU; see `firstlight fit`"
    )
    parser.add_argument(
        "--num_warmups", type=int, default=1, help="the number of warm-up runs that the peer prints first"
    )
    parser.add_argument("--accuracy", default=ACCURACY, help="a regular expression for the peer's accuracy")
    parser.add_argument("--seconds", default=SECONDS, help="a regular expression for the peer's seconds")
    options = parser.parse_args()
    if not options.peer.is_file():
        sys.exit(f"{options.peer}: no such file")
    ours = [sys.executable, str(Path(__file__).with_name("time_to_accuracy.py")), "--recipes", options.recipe]
    ours += ["--data_dir", str(options.data_dir.absolute()), "--steps", options.steps]
    ours += ["--warm_up"] * torch.cuda.is_available() + ["--seeds"]
    peer = [sys.executable, str(options.peer.absolute())]
    found: dict[str, tuple[list[float], list[float]]] = {"ours": ([], []), "peer": ([], [])}
    for turn in range(options.num_turns):
        seeds = range(turn * options.num_seeds, (turn + 1) * options.num_seeds)
        for name, command, folder, *arguments in (
            ("peer", peer, options.peer.absolute().parent, options.accuracy, options.seconds, options.num_warmups),
            ("ours", [*ours, *map(str, seeds)], Path.cwd(), OUR_ACCURACY, OUR_SECONDS, 0),
        ):
            for column, values in zip(found[name], run(command, folder, *arguments), strict=True):
                column.extend(values)
            print(f"{name}: accuracies {found[name][0]}, seconds {found[name][1]}", flush=True)
    results = {"peer": options.peer.name, "recipe": options.recipe} | {
        f"{name}_{what}": spread(values)
        for name, columns in found.items()
        for what, values in zip(("accuracy", "seconds"), columns, strict=True)
    }
    print(record(f"peer_{options.peer.stem}", command_line(), results))


if __name__ == "__main__":
    main()
