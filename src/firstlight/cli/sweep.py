"""`firstlight sweep`: search the fields of a recipe for the highest validation accuracy."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from firstlight.cli.engine_options import add_engine_options, cluster_of
from firstlight.cli.parser import DATA_DIR_HELP, Parser
from firstlight.cli.trainer_options import TrainerOptions, split_trainer_extras
from firstlight.errors import MissingPackageError, UsageError
from firstlight.extras import install_command
from firstlight.paths import DEFAULT_DATA_DIR, DEFAULT_LOGS_DIR, user_path

if TYPE_CHECKING:
    from jsonargparse import Namespace

    from firstlight.ray_cluster import RayCluster
    from firstlight.sweeps.outcome import Outcome

DESCRIPTION = (
    "Search fields of a recipe for the highest accuracy on the validation images. The test images are not used. Each "
    "trial leaves a run folder. At the end the best trials are trained again with new seeds, and the best recipe is "
    "written to best.yaml, for firstlight fit --config."
)
SPACE_HELP = (
    "YAML file of the search space: fields of the recipe with low and high (and log or step), or with choices, for "
    "instance 'optimizer.learning_rate: {low: 0.002, high: 0.05, log: true}'"
)
RESUME_HELP = "folder of a sweep to continue, or to join while other processes work on it"
FIXED_BY_SWEEP = (
    "recipe",
    "config",
    "space",
    "data_dir",
    "sampler",
    "pruner",
    "seeds_per_trial",
    "fresh_seeds",
    "storage",
)
NOT_FOR_SWEEPS = ("devices", "num_nodes", "strategy")  # each trial is trained on one device
SECONDS = {"s": 1, "m": 60, "h": 3600}
SHOWN = 10  # trials in the printed table


def run(arguments: Sequence[str]) -> None:
    """Run or continue a sweep, and print what it has found."""
    arguments, extras = split_trainer_extras(arguments)
    options = build_parser().parse(arguments)
    trainer = asdict(options.trainer) | extras
    cluster = cluster_of(options)
    timeout_s = None if options.timeout is None else parse_duration(options.timeout)
    if find_spec("optuna") is None:
        raise MissingPackageError(f"a sweep needs Optuna, which is not installed: {install_command('sweep')}")
    if options.sampler == "gp" and find_spec("scipy") is None:
        raise MissingPackageError("--sampler gp needs SciPy, which is not installed: pip install scipy")
    from firstlight.cli.quiet import quiet_lightning

    quiet_lightning()
    found = (
        resumed(options, trainer, timeout_s, cluster) if options.resume else begun(options, trainer, timeout_s, cluster)
    )
    from firstlight.sweeps.sweep_page import write_page

    print_outcome(found)
    page = write_page(found)
    for name in ("trials.csv", "best.yaml"):
        print(found.path / name)
    print(page)
    print(f"\nfirstlight fit --config {found.path / 'best.yaml'}    # train the best recipe, and test it once")


def build_parser() -> Parser:
    """Return the verb's parser."""
    parser = Parser("sweep", DESCRIPTION)
    parser.add_argument("--recipe", type=str, default=None, help="recipe whose fields are searched")
    parser.add_argument(
        "--config", type=str, default=None, metavar="FILE", help="recipe.yaml of a run, instead of --recipe"
    )
    parser.add_argument("--space", type=str, default=None, metavar="FILE", help=SPACE_HELP)
    parser.add_argument("--trials", type=int, default=None, metavar="N", help="number of trials in all")
    parser.add_argument("--timeout", type=str, default=None, help="begin no trial after this time: 90s, 30m or 2h")
    parser.add_argument("--data_dir", type=str, default=None, help=DATA_DIR_HELP)
    parser.add_argument("--logs_dir", type=str, default=DEFAULT_LOGS_DIR, help="folder of all runs and sweeps")
    parser.add_argument(
        "--sampler",
        default=None,
        choices=("tpe", "gp", "random"),
        help="how values are chosen: by a tree of Parzen estimators (the default), a Gaussian process, or at random",
    )
    parser.add_argument(
        "--pruner",
        default=None,
        choices=("median", "asha", "hyperband", "none"),
        help="which trials end early: those below the median after as many epochs (the default, unless max_epochs is "
        "searched), by asha (asynchronous successive halving), by hyperband, or none",
    )
    parser.add_argument("--seeds_per_trial", type=int, default=None, metavar="N", help="trainings of a trial (1)")
    parser.add_argument(
        "--fresh_seeds", type=int, default=None, metavar="N", help="new seeds for the best three trials (3); 0 for none"
    )
    parser.add_argument(
        "--storage", type=str, default=None, metavar="URL", help="database that several machines share, of PostgreSQL"
    )
    parser.add_argument("--resume", type=str, default=None, metavar="SWEEP", help=RESUME_HELP)
    add_engine_options(parser, "trial")
    parser.add_class_arguments(TrainerOptions, "trainer", skip=set(NOT_FOR_SWEEPS))
    return parser


def begun(options: Namespace, trainer: dict[str, Any], timeout_s: float | None, cluster: RayCluster | None) -> Outcome:
    """Run a new sweep.

    Args:
        options: Options of the command line.
        trainer: Arguments of Lightning's Trainer.
        timeout_s: Seconds after which no trial begins.
        cluster: Where the trials are trained.

    Raises:
        UsageError: An option is missing.
    """
    from firstlight.recipes import get_recipe
    from firstlight.recipes.config import Recipe

    if options.config is not None and options.recipe is not None:
        raise UsageError("give --recipe or --config, not both")
    options.recipe = options.recipe or options.config
    for name in ("recipe", "space", "trials"):
        if getattr(options, name) is None:
            raise UsageError(f"--{name} is missing: firstlight sweep --recipe demo --space space.yaml --trials 40")
    recipe = get_recipe(options.recipe) if options.config is None else Recipe.load(user_path(options.config))
    from firstlight.sweeps.sweep import sweep

    named = {name: getattr(options, name) for name in ("sampler", "pruner", "seeds_per_trial", "storage")}
    named["num_fresh_seeds"] = options.fresh_seeds
    return sweep(
        recipe,
        options.space,
        options.trials,
        options.data_dir or DEFAULT_DATA_DIR,
        options.logs_dir,
        timeout_s=timeout_s,
        cluster=cluster,
        **trainer,
        **{name: value for name, value in named.items() if value is not None},
    )


def resumed(
    options: Namespace, trainer: dict[str, Any], timeout_s: float | None, cluster: RayCluster | None
) -> Outcome:
    """Continue a sweep; see `begun`.

    Raises:
        UsageError: An option contradicts the sweep.
    """
    given = [f"--{name}" for name in FIXED_BY_SWEEP if getattr(options, name) is not None]
    defaults = asdict(TrainerOptions())
    given += [f"--trainer.{name}" for name, value in trainer.items() if value != defaults.get(name)]
    if given:
        raise UsageError(f"{', '.join(given)}: a sweep continues with the options that it began with")
    from firstlight.sweeps.sweep import resume_sweep

    return resume_sweep(user_path(options.resume), options.trials, timeout_s, cluster)


def parse_duration(text: str) -> float:
    """Return the seconds of a duration.

    Raises:
        UsageError: It is not a number with s, m or h.

    >>> parse_duration("1.5h"), parse_duration("90s")
    (5400.0, 90.0)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text.strip())
    if not found or float(found[1]) == 0:
        raise UsageError(f"--timeout must be a time such as 90s, 30m or 2h, not {text!r}")
    return float(found[1]) * SECONDS[found[2]]


def print_outcome(found: Outcome) -> None:
    """Print the best trials, the importance of the fields, and what fresh seeds say."""
    from firstlight.sweeps.texts import fresh_lines, ranking_rows

    num_pruned = sum(trial.is_pruned for trial in found.trials)
    print(f"{len(found.trials)} trials, {num_pruned} of them ended early")
    headings, rows = ranking_rows(found, SHOWN)
    widths = [max(len(row[column]) for row in (headings, *rows)) for column in range(len(headings))]
    for row in (headings, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    if found.importance:
        print("importance: " + ", ".join(f"{name} {share:.0%}" for name, share in found.importance.items()))
    for line in fresh_lines(found):
        print(line)
