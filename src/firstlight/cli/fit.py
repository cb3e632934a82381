"""`firstlight fit`: train and test by a recipe."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, replace

import yaml

from firstlight.cli.fit_options import build_parser
from firstlight.cli.resume import resume_run
from firstlight.cli.trainer_options import split_trainer_extras
from firstlight.data.source import open_source
from firstlight.errors import UsageError
from firstlight.paths import user_path
from firstlight.recipes import get_recipe
from firstlight.recipes.config import Recipe


def run(arguments: Sequence[str]) -> None:
    """Train and test, then say what came out and where it is."""
    arguments, extras = split_trainer_extras(arguments)
    early = _early(arguments)
    if early.resume is not None:
        resume_run(early.resume, arguments, extras)
        return
    arguments, recipe = _starting_point(arguments, early)
    parsed = build_parser(recipe).parse(arguments)
    values = vars(parsed)
    chosen = Recipe(name=recipe.name, **{name: values[name] for name in recipe.to_dict() if name != "name"})
    is_named = any(each.partition("=")[0] == "--data" for each in arguments)
    chosen = replace(chosen, data=open_source(chosen.data, values["data_dir"], is_named=is_named).name)
    options = asdict(values["trainer"]) | extras
    from firstlight.cli.output import print_run
    from firstlight.cli.quiet import quiet_lightning
    from firstlight.training.fit import dry_run, fit
    from firstlight.training.processes import is_first_process

    quiet_lightning()
    if values["fast_dev_run"]:
        dry_run(chosen, values["data_dir"], steps=values["steps"], **options)
        print("fast_dev_run: one batch went through training, validation and test; nothing was kept")
        return
    finished = fit(
        chosen,
        values["data_dir"],
        values["logs_dir"],
        logger=values["logger"],
        histograms=values["histograms"],
        steps=values["steps"],
        **options,
    )
    if is_first_process():
        print_run(finished)


def _starting_point(arguments: Sequence[str], early: argparse.Namespace) -> tuple[Sequence[str], Recipe]:
    """Return the arguments to parse, and the recipe that gives the defaults.

    If `--config` names the `recipe.yaml` of a run, that recipe gives the defaults and the option is left out of the
    arguments, because a recipe's file has no options of the command beside the recipe's fields.

    Raises:
        UsageError: `--recipe` names another recipe than the one in the file.
    """
    if not early.is_recipe_file:
        return arguments, get_recipe(early.recipe or "adam24")
    recipe = Recipe.load(early.config)
    if early.recipe not in (None, recipe.name):
        raise UsageError(f"--recipe {early.recipe}: {early.config} holds the recipe {recipe.name}. Name only one.")
    return early.without_config, recipe


def _early(arguments: Sequence[str]) -> argparse.Namespace:
    """Find the run to resume and the recipe before the parser is built."""
    early = argparse.ArgumentParser(add_help=False, exit_on_error=False, allow_abbrev=False)
    early.add_argument("--recipe")
    early.add_argument("--resume")
    early.add_argument("--config", type=user_path)
    found = argparse.Namespace(recipe=None, resume=None, config=None, is_recipe_file=False, without_config=[])
    try:
        early.parse_known_args(list(arguments), found)
        if found.config is not None:
            content = yaml.safe_load(found.config.read_text(encoding="utf-8"))
            found.is_recipe_file = "name" in content and "recipe" not in content
            if found.recipe is None and "recipe" in content:
                found.recipe = str(content["recipe"])
        config = argparse.ArgumentParser(add_help=False, exit_on_error=False, allow_abbrev=False)
        config.add_argument("--config")
        found.without_config = config.parse_known_args(list(arguments))[1]
    except (argparse.ArgumentError, OSError, yaml.YAMLError, UnicodeDecodeError, TypeError):
        pass  # the real parser says what is wrong
    return found
