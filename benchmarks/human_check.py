"""Do the labels of CIFAR-10's test images that people reject rank before the others?

    python benchmarks/human_check.py --data_dir DATA_DIR --votes cifar10_mturk.json

The bundled network, which was not trained on these images, predicts them, as the audit of a finished run does; every
method ranks the labels from the same predictions. For 275 images that an earlier study suspected, five people were
asked (Northcutt, Athalye, Mueller: Pervasive Label Errors in Test Sets Destabilize Machine Learning Benchmarks, 2021;
the file `mturk/cifar10_mturk.json` of github.com/cleanlab/label-errors). A label counts as wrong if at least three of
the five chose the other class or neither. The labels that nobody was asked about count as right. The area under the
ROC curve is the probability that a wrong label ranks before a right one. cleanlab is compared if it is installed.
The results file is `human_check.json`; --dry_run writes none.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import torch

from firstlight.data.source import open_source
from planted_noise import measure, predict_bundled
from record import command_line, record

MAJORITY = 3  # of five people


def main() -> None:
    options = parse_options()
    votes = json.loads(options.votes.read_text(encoding="utf-8"))
    rejected = [each["id"] for each in votes if each["mturk"]["guessed"] + each["mturk"]["neither"] >= MAJORITY]
    test = open_source("cifar10", options.data_dir).test()
    given = {each["id"]: each["given_original_label"] for each in votes}
    if any(int(test.labels[index]) != label for index, label in given.items()):
        raise SystemExit(f"{options.votes}: its labels are not those of CIFAR-10's test images")
    is_wrong = torch.zeros(len(test), dtype=torch.bool)
    is_wrong[rejected] = True
    found = predict_bundled(test)
    results: dict[str, Any] = {
        "what": "ranking of the CIFAR-10 test labels that at least three of five people reject, by AUROC",
        "num_images": len(test),
        "num_asked": len(votes),
        "num_rejected": len(rejected),
        "votes_sha256": hashlib.sha256(options.votes.read_bytes()).hexdigest(),
        "accuracy": found.accuracy,
    } | measure(found, torch.zeros_like(test.labels), test.labels, is_wrong)
    results.pop("likely_class_right")  # the true class is not known
    print(json.dumps(results, indent=2))
    if not options.dry_run:
        command = command_line().replace(str(options.votes), options.votes.name)
        print(record("human_check", command, results))


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", type=Path, default=Path("data"))
    parser.add_argument("--votes", type=Path, required=True, help="cifar10_mturk.json")
    parser.add_argument("--dry_run", action="store_true", help="print only, write no result")
    return parser.parse_args()


if __name__ == "__main__":
    main()
