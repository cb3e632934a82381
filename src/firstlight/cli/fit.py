"""`firstlight fit`: train and test a network as a recipe says."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace

from firstlight.cli.before_fit import print_before_fit
from firstlight.cli.engine_options import cluster_of
from firstlight.cli.fit_options import build_parser, check_parts, help_for_all_parts, with_parts
from firstlight.cli.network_options import import_from_command_line, network_from
from firstlight.cli.repeat_fit import repeat_fit
from firstlight.cli.resume import resume_run
from firstlight.cli.trainer_options import split_trainer_extras
from firstlight.data.drawn import EMBEDDED_NAMES
from firstlight.data.source import open_source
from firstlight.errors import UsageError
from firstlight.files import read_text
from firstlight.paths import DEFAULT_DATA_DIR, user_path
from firstlight.recipes import get_recipe
from firstlight.recipes.config import MAX_RECIPE_BYTES, Recipe

TRAINER_HELP = "Any other argument of Lightning's Trainer: --trainer.KEY VALUE, for instance --trainer.profiler simple"


def run(arguments: Sequence[str]) -> None:
    """Train and test, then print the results and the run folder."""
    given = arguments
    arguments, extras = split_trainer_extras(arguments)
    early = _parse_early_options(arguments)
    import_from_command_line(early.named_network, early.network_module)
    if early.resume is not None:
        resume_run(early.resume, arguments, extras)
        return
    arguments, recipe = _starting_point(arguments, early)
    parser = build_parser(recipe)
    if early.help_all:
        print(f"{parser.format_help()}\n{help_for_all_parts()}\n\n{TRAINER_HELP}")
        return
    check_parts(recipe, arguments)
    values = vars(parser.parse(arguments))
    values["network"] = network_from(values["network"])
    chosen = Recipe(name=recipe.name, **{name: values[name] for name in recipe.to_dict() if name != "name"})
    is_named = any(each.partition("=")[0] == "--data" for each in arguments)
    source = open_source(chosen.data, values["data_dir"], is_named=is_named, columns=chosen.columns)
    chosen = replace(chosen, data=source.name)
    if is_named and chosen.data in EMBEDDED_NAMES:  # a folder must not replace it
        values["data_dir"] = DEFAULT_DATA_DIR
    options = asdict(values["trainer"]) | extras
    cluster = cluster_of(Namespace(**values))
    if cluster is not None and values["seeds"] is None:
        raise UsageError("--engine ray spreads the runs of --seeds over a cluster: add --seeds N")
    from firstlight.cli.output import print_next, print_run
    from firstlight.cli.quiet import quiet_lightning
    from firstlight.training.fit import dry_run, fit
    from firstlight.training.processes import is_first_process

    quiet_lightning()
    if values["fast_dev_run"]:
        dry_run(chosen, values["data_dir"], steps=values["steps"], decisions=values["decisions"], **options)
        print("fast_dev_run: one batch went through training, validation and test; no file was written")
        return
    if values["find_lr"] or values["dry_run"]:
        print_before_fit(chosen, values, given, options)
        return
    options |= {name: values[name] for name in ("logger", "histograms", "steps", "decisions")}
    if values["seeds"] is not None or values["folds"] is not None:
        seeds, folds = values["seeds"], values["folds"]
        repeat_fit(chosen, values["data_dir"], values["logs_dir"], seeds, folds, options, cluster)
        return
    finished = fit(chosen, values["data_dir"], values["logs_dir"], **options)
    if is_first_process():
        print_run(finished)
        print_next(finished)


def _starting_point(arguments: Sequence[str], early: argparse.Namespace) -> tuple[Sequence[str], Recipe]:
    """Return the arguments to parse, and the recipe that gives the defaults.

    If `--config` names the `recipe.yaml` of a run, that recipe gives the defaults, and `--config` is left out of the
    arguments, because the parser accepts only files of options.

    Raises:
        UsageError: `--recipe` names a recipe other than that of the file.
    """
    if not early.is_recipe_file:
        return arguments, with_parts(get_recipe(early.recipe or "adam24"), early.network, early.optimizer)
    recipe = Recipe.load(early.config)
    if early.recipe not in (None, recipe.name):
        raise UsageError(f"--recipe {early.recipe}: {early.config} holds the recipe {recipe.name}. Name only one.")
    return early.without_config, with_parts(recipe, early.network, early.optimizer)


def _parse_early_options(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the options that decide which other options the parser has."""
    early = argparse.ArgumentParser(add_help=False, exit_on_error=False, allow_abbrev=False)
    for name in ("--recipe", "--resume", "--network_module"):
        early.add_argument(name)
    early.add_argument("--config", type=user_path)
    early.add_argument("--network.name", dest="named_network")
    early.add_argument("--optimizer.name", dest="optimizer")
    early.add_argument("--help_all", action="store_true")
    names = ("recipe", "resume", "network_module", "config", "named_network", "optimizer", "help_all")
    found = argparse.Namespace(**dict.fromkeys(names))
    with suppress(argparse.ArgumentError):  # the main parser reports the error
        early.parse_known_args(list(arguments), found)
    content = _read_config(found.config)
    found.is_recipe_file = "name" in content and "recipe" not in content
    found.without_config = _without_config(arguments)
    if found.recipe is None and "recipe" in content:
        found.recipe = str(content["recipe"])
    found.network = found.named_network or _name_of_part(content, "network")
    found.optimizer = found.optimizer or _name_of_part(content, "optimizer")
    return found


def _without_config(arguments: Sequence[str]) -> list[str]:
    config = argparse.ArgumentParser(add_help=False, exit_on_error=False, allow_abbrev=False)
    config.add_argument("--config")
    try:
        return config.parse_known_args(list(arguments))[1]
    except argparse.ArgumentError:
        return list(arguments)


def _read_config(path: Path | None) -> dict[str, Any]:
    """Return the content of a file of options; empty if the file cannot be read, which the main parser reports."""
    try:
        found = yaml.safe_load(read_text(path, MAX_RECIPE_BYTES)) if path is not None else None
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}


def _name_of_part(content: dict[str, Any], part: str) -> str | None:
    """Return the name of the network or the optimizer in a file of options."""
    values = content.get(part)
    name = values.get("name") if isinstance(values, dict) else None
    return name if isinstance(name, str) else None
