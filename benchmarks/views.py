"""What more views of an image are worth where the network is sure: accuracy and work by margin.

Every validation image gets a single view; those whose two largest probabilities differ by no more than the margin get
the others, too. The test split is not looked at.

    python benchmarks/views.py RUN --data_dir DATA_DIR
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from firstlight.evaluation.views import margins
from firstlight.export.making import logits_of
from firstlight.training.data_module import ImageData
from firstlight.training.run import load
from record import record

MARGINS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data_dir", default="data")
    options = parser.parse_args()
    run = load(options.run)
    data = ImageData(run.recipe, options.data_dir)
    data.setup("validate")
    images, labels = data.val.images, data.val.labels
    single = logits_of(run.network, images)
    whole = logits_of(run.network, images, "flip_shift", single)
    rows = []
    for margin in MARGINS:
        unsure = margins(single) <= margin
        chosen = torch.where(unsure[:, None], whole, single).argmax(dim=1)
        changed = int((chosen != single.argmax(dim=1)).sum())
        row = {
            "margin": margin,
            "share_seen_again": float(unsure.double().mean()),
            "accuracy": float((chosen == labels).double().mean()),
            "num_changed": changed,
        }
        rows.append(row)
        print("  ".join(f"{name} {value:.4g}" for name, value in row.items()), flush=True)
    results = {
        "what": "validation accuracy with six views of the images within the margin, one view of the others",
        "num_images": len(labels),
        "run": {"recipe": run.recipe.to_dict(), "commit": run.environment.get("commit")},
        "margins": rows,
    }
    print(record("views", "python benchmarks/views.py RUN", results))


if __name__ == "__main__":
    main()
