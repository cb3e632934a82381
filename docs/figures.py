"""Draws the figures in docs/figures again, from a real run.

    python docs/figures.py [--run RUN] [--data_dir DIR]

Without a run: the newest one in logs/, or a new demo.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from firstlight.diagram import draw
from firstlight.errors import RunError
from firstlight.files import atomic
from firstlight.recipes import get_recipe
from firstlight.training.figures import save_figure
from firstlight.training.fit import fit
from firstlight.training.measure import load_test_images
from firstlight.training.mistakes import MistakeFilter, misclassified_images
from firstlight.training.run import Run, latest_run, load

FIGURES = Path(__file__).parent / "figures"


def find_run(named: str | None) -> Run:
    """The run that was named, else the newest, else a new demo."""
    if named:
        return load(named)
    try:
        return latest_run("logs")
    except RunError:
        return fit(get_recipe("demo"))


def main() -> None:
    """Draw every figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", default=None)
    parser.add_argument("--data_dir", default=None)
    options = parser.parse_args()
    run = find_run(options.run)
    images = load_test_images(run, options.data_dir).test
    sheet = misclassified_images(run.network, images, run.predictions, MistakeFilter(count=9))
    save_figure(sheet, FIGURES / "misclassified.png")
    with atomic(FIGURES / "resnet9.png") as temporary:
        draw(run.network, run.size_px[0]).savefig(temporary, format="png", dpi=150)


if __name__ == "__main__":
    main()
