"""The options of a network on the command line, for a built-in network or for a class of the user's own."""

from __future__ import annotations

from typing import Any

from jsonargparse import Namespace

from firstlight.cli.parser import Parser
from firstlight.networks.network_config import RESERVED_ARGUMENTS, CustomNetworkConfig, NetworkConfig

NETWORK_NAME_HELP = "resnet9, speednet, or a class of your own as package.module:Class; see docs/extending.md"


def import_from_command_line(network_name: str | None, module: str | None) -> None:
    """Import the modules that the command line names. A name in a file is never imported.

    Args:
        network_name: Value of `--network.name`.
        module: Value of `--network_module`.

    Raises:
        UsageError: A module cannot be imported.
    """
    named = network_name.partition(":")[0] if network_name and ":" in network_name else None
    for each in filter(None, (module, named)):
        from firstlight.networks.custom import import_network_module

        import_network_module(each)


def add_network_options(parser: Parser, config: NetworkConfig) -> None:
    """Add `--network.name` and one option for each field of the network, with the configuration's values as defaults.

    The options of a class of the user's own are the arguments of its constructor.

    Raises:
        UsageError: The class is not imported, or cannot be used.
    """
    if isinstance(config, CustomNetworkConfig):
        from firstlight.networks.custom import find_network_class

        network_class, skipped = find_network_class(config.name), {*RESERVED_ARGUMENTS}
        parser.add_class_arguments(network_class, "network", skip=skipped, instantiate=False, fail_untyped=False)
    else:
        parser.add_class_arguments(type(config), "network", skip={"name"})
    parser.add_argument("--network.name", type=str, default=config.name, help=NETWORK_NAME_HELP)
    parser.set_defaults({f"network.{name}": value for name, value in config.to_dict().items()})


def network_from(parsed: Any) -> NetworkConfig:
    """Return the parsed configuration; for a class of the user's own, build it from the parsed options."""
    return CustomNetworkConfig.from_values(parsed.as_dict()) if isinstance(parsed, Namespace) else parsed
