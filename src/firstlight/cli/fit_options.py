"""The options of `firstlight fit`; `--resume` compares them with those of the interrupted run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import get_args

from firstlight.cli.engine_options import add_engine_options
from firstlight.cli.network_options import add_network_options
from firstlight.cli.parser import DATA_DIR_HELP, DECISIONS_HELP, NETWORK_MODULE_HELP, Parser
from firstlight.cli.trainer_options import TrainerOptions
from firstlight.errors import UsageError
from firstlight.networks.network_config import BUILT_IN, CustomNetworkConfig, default_network_config
from firstlight.paths import DEFAULT_DATA_DIR, DEFAULT_LOGS_DIR
from firstlight.recipes import RECIPES
from firstlight.recipes.config import MuonConfig, OptimizerConfig, Recipe
from firstlight.runs.options import Steps

DESCRIPTION = (
    "Train and test a network, and write a run folder. A recipe gives the defaults, and options can change each of its "
    "fields."
)
EPILOG = "The options of --network and --optimizer are those of the recipe named by --recipe. --help_all shows all."

OPTIMIZERS: dict[str, type[OptimizerConfig] | type[MuonConfig]] = {
    "adam": OptimizerConfig,
    "sgd": OptimizerConfig,
    "muon": MuonConfig,
}
# Kinds of network and of optimizer by name. The parser has the options of one kind of each.
PARTS: dict[str, dict[str, type]] = {"network": {**BUILT_IN}, "optimizer": {**OPTIMIZERS}}


def build_parser(recipe: Recipe) -> Parser:
    """Return the parser, with the recipe's values as defaults."""
    usage = "firstlight fit [--recipe NAME] [--data_dir DIR] [OPTION ...]"
    parser = Parser("fit", DESCRIPTION, usage=usage, epilog=EPILOG)
    names = list(dict.fromkeys([*RECIPES, recipe.name]))  # a resumed run may have a recipe of its own
    parser.add_argument(
        "--config",
        action="config",
        help="a YAML file of options, as --print_config writes it, or the recipe.yaml of a run",
    )
    parser.add_argument("--recipe", default=recipe.name, choices=names, help="recipe that gives the defaults")
    parser.add_argument("--data_dir", type=str, default=DEFAULT_DATA_DIR, help=DATA_DIR_HELP)
    parser.add_argument(
        "--logs_dir", type=str, default=DEFAULT_LOGS_DIR, help="folder in which the run folder is created"
    )
    parser.add_argument(
        "--logger", type=str, default="tensorboard", help="logger: tensorboard, csv, wandb, mlflow, comet or none"
    )
    parser.add_argument(
        "--histograms", action="store_true", help="write histograms of weights and gradients to TensorBoard"
    )
    parser.add_argument(
        "--steps",
        default="recorded",
        choices=get_args(Steps),
        help="how a GPU runs the training steps: plain launches every kernel by itself, recorded captures the steps as "
        "CUDA graphs and replays them, compiled also compiles the steps first",
    )
    parser.add_argument("--resume", type=str, metavar="RUN", help="resume an interrupted run in its own folder")
    parser.add_argument(
        "--seeds",
        type=int,
        metavar="N",
        help="train N runs with the seeds from --seed on, and print mean, standard deviation and lower bound of the "
        "accuracy; repeat the command to train the runs that are missing",
    )
    parser.add_argument(
        "--folds",
        type=int,
        metavar="K",
        help="cross-validate: train K runs, each without one fold of the training images, and save the predictions for "
        "the held-out folds",
    )
    add_engine_options(parser, "seed")
    parser.add_argument("--decisions", type=str, default=None, metavar="FILE", help=DECISIONS_HELP)
    parser.add_argument(
        "--fast_dev_run",
        action="store_true",
        help="run one batch through training, validation and test, and write no file",
    )
    parser.add_argument(
        "--find_lr",
        action="store_true",
        help="train some steps with a growing learning rate, draw the curve of the loss, and suggest a learning rate",
    )
    parser.add_argument(
        "--dry_run",
        action="store_true",
        help="print the plan: devices, steps, the files of the run and the estimated time; train nothing",
    )
    parser.add_argument("--help_all", action="store_true", help="show the options of every network and optimizer")
    parser.add_argument("--network_module", type=str, default=None, metavar="MODULE", help=NETWORK_MODULE_HELP)
    parser.add_class_arguments(Recipe, skip={"name", *PARTS})
    add_network_options(parser, recipe.network)
    parser.add_class_arguments(type(recipe.optimizer), "optimizer")
    parser.add_class_arguments(TrainerOptions, "trainer")
    values = recipe.flat()
    parser.set_defaults({name: values[name] for name in values if name != "name" and not name.startswith("network.")})
    return parser


def with_parts(recipe: Recipe, network: str | None, optimizer: str | None) -> Recipe:
    """Return the recipe with the named kinds of network and optimizer; a kind that changes has its default options.

    Raises:
        UsageError: There is no network of that name.
    """
    if network is not None and network != recipe.network.name:
        recipe = replace(recipe, network=default_network_config(network))
    if optimizer in OPTIMIZERS and OPTIMIZERS[optimizer] is not type(recipe.optimizer):
        recipe = replace(recipe, optimizer=OPTIMIZERS[optimizer]())
    return recipe


def check_parts(recipe: Recipe, arguments: Sequence[str]) -> None:
    """Check that no option belongs to a network or an optimizer that the recipe does not use.

    Raises:
        UsageError: An option does; the message names the networks or optimizers that have this option.
    """
    for argument in arguments:
        option = argument.partition("=")[0]
        part, dot, key = option.removeprefix("--").partition(".")
        if not (option.startswith("--") and dot and part in PARTS):
            continue
        config = getattr(recipe, part)
        if isinstance(config, CustomNetworkConfig) or key in _field_names(type(config)):
            continue
        owners = [name for name, kind in PARTS[part].items() if key in _field_names(kind)]
        if owners:
            recipes = [name for name, make in RECIPES.items() if getattr(make(), part).name in owners]
            raise UsageError(
                f"{option} is an option of the {part} {' and '.join(owners)}, but recipe {recipe.name} uses "
                f"{config.name}. Add --{part}.name {owners[0]}, or choose another recipe: {', '.join(recipes)}"
            )


def help_for_all_parts() -> str:
    """Return the help for the options of every built-in network and optimizer."""
    texts = []
    for part, kinds in PARTS.items():
        for kind in dict.fromkeys(kinds.values()):
            names = ", ".join(name for name, each in kinds.items() if each is kind)
            parser = Parser("fit", f"With --{part}.name {names}:", add_help=False, usage="")
            parser.add_class_arguments(kind, part, skip={"name"})
            texts.append(parser.format_help().removeprefix("usage:").strip())
    return "\n\n".join(texts)


def _field_names(kind: type) -> set[str]:
    return {field.name for field in fields(kind)}
