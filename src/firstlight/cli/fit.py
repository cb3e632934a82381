"""`firstlight fit`: train and test by a recipe."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import yaml

from firstlight.cli.fit_options import build_parser
from firstlight.cli.resume import resume_run
from firstlight.cli.trainer_options import split_trainer_extras
from firstlight.data.source import open_source
from firstlight.recipes import get_recipe
from firstlight.recipes.config import Recipe


def run(arguments: Sequence[str]) -> None:
    """Train and test, then say what came out and where it is."""
    arguments, extras = split_trainer_extras(arguments)
    early = _early(arguments)
    if early.resume is not None:
        resume_run(early.resume, arguments, extras)
        return
    recipe = get_recipe(early.recipe)
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
