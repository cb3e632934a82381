"""The options of `firstlight fit`: for a new run, and to compare with when one goes on."""

from __future__ import annotations

from typing import get_args

from firstlight.cli.parser import Parser
from firstlight.cli.trainer_options import TrainerOptions
from firstlight.paths import DEFAULT_DATA_DIR, DEFAULT_LOGS_DIR
from firstlight.recipes import RECIPES
from firstlight.recipes.config import Recipe
from firstlight.runs.options import Steps

DATA_DIR_HELP = "where data sets on disk are kept, or a folder of your own images, in a folder for each class"
DESCRIPTION = "Train and test by a recipe; every field of the recipe can be set. Leaves a run folder under logs/."

PARTS = ("network", "optimizer")  # of a recipe: their options are those of the kind that it has


def build_parser(recipe: Recipe) -> Parser:
    """Return the parser, with the recipe's values as defaults."""
    parser = Parser("fit", DESCRIPTION, usage="firstlight fit [--recipe NAME] [--data_dir DIR] [OPTION ...]")
    names = list(dict.fromkeys([*RECIPES, recipe.name]))  # a run that is resumed may have one of its own
    parser.add_argument("--config", action="config", help="a YAML file of options, as --print_config writes it")
    parser.add_argument("--recipe", default=recipe.name, choices=names, help="where the defaults come from")
    parser.add_argument("--data_dir", type=str, default=DEFAULT_DATA_DIR, help=DATA_DIR_HELP)
    parser.add_argument("--logs_dir", type=str, default=DEFAULT_LOGS_DIR, help="where run folders are made")
    parser.add_argument(
        "--logger", type=str, default="tensorboard", help="tensorboard, csv, wandb, mlflow, comet or none"
    )
    parser.add_argument("--histograms", action="store_true", help="weight and gradient histograms in TensorBoard")
    parser.add_argument(
        "--steps",
        default="recorded",
        choices=get_args(Steps),
        help="how steps are made on a GPU: kernel by kernel, replayed whole, or so with kernels made for them first",
    )
    parser.add_argument("--resume", type=str, metavar="RUN", help="go on with an interrupted run, in its own folder")
    parser.add_argument("--fast_dev_run", action="store_true", help="one batch through everything; keeps nothing")
    parser.add_class_arguments(Recipe, skip={"name", *PARTS})
    for part in PARTS:
        parser.add_class_arguments(type(getattr(recipe, part)), part)
    parser.add_class_arguments(TrainerOptions, "trainer")
    parser.set_defaults({name: value for name, value in recipe.flat().items() if name != "name"})
    return parser
