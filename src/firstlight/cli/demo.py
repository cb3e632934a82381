"""`firstlight demo`: train, test and explain on the embedded data."""

from __future__ import annotations

from collections.abc import Sequence

from firstlight.cli.parser import Parser
from firstlight.paths import DEFAULT_LOGS_DIR


def run(arguments: Sequence[str]) -> None:
    """Train and test the demo recipe, draw figures, and print what to open next."""
    parser = Parser("demo", "The whole pipeline on the embedded data, in a minute or two on two CPU cores.")
    parser.add_argument("--logs_dir", type=str, default=DEFAULT_LOGS_DIR, help="folder of the run folders")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, split, order and augmentation")
    options = parser.parse(arguments)
    from dataclasses import replace

    from firstlight.cli.output import print_demo
    from firstlight.cli.quiet import quiet_lightning
    from firstlight.recipes import get_recipe
    from firstlight.training.fit import fit

    quiet_lightning()
    print_demo(fit(replace(get_recipe("demo"), seed=options.seed), logs_dir=options.logs_dir))
