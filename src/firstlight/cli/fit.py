"""`firstlight fit`: train and test by a recipe."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import yaml

from firstlight.cli.going_on import go_on
from firstlight.cli.parser import Parser
from firstlight.cli.trainer_options import TrainerOptions, split_trainer_extras
from firstlight.data.sources import recognize
from firstlight.places import DEFAULT_DATA_DIR, DEFAULT_LOGS_DIR
from firstlight.recipes import RECIPES, get_recipe
from firstlight.training.recipe import Recipe

DATA_DIR_HELP = "where data sets on disk are kept, or a folder of your own images, in a folder for each class"
DESCRIPTION = "Train and test by a recipe; every field of the recipe can be set. Leaves a run folder under logs/."

PARTS = ("network", "optimizer")  # of a recipe: their options are those of the kind that it has


def run(arguments: Sequence[str]) -> None:
    """Train and test, then say what came out and where it is."""
    arguments, extras = split_trainer_extras(arguments)
    early = _early(arguments)
    if early.resume is not None:
        go_on(early.resume, arguments, extras)
        return
    recipe = get_recipe(early.recipe)
    parsed = build_parser(recipe).parse(arguments)
    values = vars(parsed)
    chosen = Recipe(name=recipe.name, **{name: values[name] for name in recipe.to_dict() if name != "name"})
    is_named = any(each.partition("=")[0] == "--data" for each in arguments)
    chosen = replace(chosen, data=recognize(chosen.data, values["data_dir"], is_named=is_named))
    options = asdict(values["trainer"]) | extras
    from firstlight.cli.output import print_run
    from firstlight.cli.quiet import quiet_lightning
    from firstlight.training.fit import dry_run, fit

    quiet_lightning()
    if values["fast_dev_run"]:
        dry_run(chosen, values["data_dir"], **options)
        print("fast_dev_run: one batch went through training, validation and test; nothing was kept")
        return
    finished = fit(
        chosen,
        values["data_dir"],
        values["logs_dir"],
        logger=values["logger"],
        histograms=values["histograms"],
        **options,
    )
    print_run(finished)


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
    parser.add_argument("--resume", type=str, metavar="RUN", help="go on with an interrupted run, in its own folder")
    parser.add_argument("--fast_dev_run", action="store_true", help="one batch through everything; keeps nothing")
    parser.add_class_arguments(Recipe, skip={"name", *PARTS})
    for part in PARTS:
        parser.add_class_arguments(type(getattr(recipe, part)), part)
    parser.add_class_arguments(TrainerOptions, "trainer")
    parser.set_defaults({name: value for name, value in recipe.flat().items() if name != "name"})
    return parser


def _early(arguments: Sequence[str]) -> argparse.Namespace:
    """Find the run to resume and the recipe before the parser is built."""
    early = argparse.ArgumentParser(add_help=False, exit_on_error=False, allow_abbrev=False)
    early.add_argument("--recipe")
    early.add_argument("--resume")
    early.add_argument("--config", type=Path)
    found = argparse.Namespace(recipe=None, resume=None, config=None)
    try:
        early.parse_known_args(list(arguments), found)
        if found.recipe is None and found.config is not None:
            found.recipe = str(yaml.safe_load(found.config.read_text()).get("recipe", "adam24"))
    except (argparse.ArgumentError, OSError, yaml.YAMLError, UnicodeDecodeError, AttributeError):
        pass  # the real parser says what is wrong
    found.recipe = found.recipe or "adam24"
    return found
