"""Import, find, build and check networks whose classes are outside firstlight."""

from __future__ import annotations

import inspect
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import reduce
from importlib import import_module

from torch import nn

from firstlight.errors import UsageError
from firstlight.layers.normalize import Normalize
from firstlight.networks.network_config import CustomNetworkConfig, NetworkConfig
from firstlight.networks.staged import StagedNetwork

_may_import: ContextVar[bool] = ContextVar("may_import", default=True)


def import_named_network(config: NetworkConfig) -> None:
    """Import the module of a network that the user named on the command line or in Python.

    Never call this with a name that was read from a file: importing a module runs its code. See
    docs/decisions/0018-networks-outside-firstlight.md.

    Args:
        config: Configuration of the network; built-in networks need no import.

    Raises:
        UsageError: The module cannot be imported.
    """
    if isinstance(config, CustomNetworkConfig) and _may_import.get():
        config.check()
        import_network_module(config.module)


def import_network_module(name: str) -> None:
    """Import a module that the user named, from the Python path or from the current folder.

    Raises:
        UsageError: There is no such module, or importing it fails.
    """
    try:
        import_module(name)
        return
    except ModuleNotFoundError as error:
        if os.getcwd() in sys.path or not _is_about(error, name):
            raise _import_failure(name, error) from error
    except Exception as error:
        raise _import_failure(name, error) from error
    sys.path.append(os.getcwd())  # last, so that no file of this folder hides an installed package
    try:
        import_module(name)
    except Exception as error:
        raise _import_failure(name, error) from error


@contextmanager
def imports_refused() -> Iterator[None]:
    """Turn off `import_named_network` inside the block, while a file that may name a network is read."""
    token = _may_import.set(False)
    try:
        yield
    finally:
        _may_import.reset(token)


def find_network_class(name: str) -> type[StagedNetwork]:
    """Return a network class whose module is already imported.

    Args:
        name: Import path of the class, "package.module:Class".

    Raises:
        UsageError: The module is not imported or has no such class, or the class does not derive from `StagedNetwork`.
    """
    module_name, _, path = name.partition(":")
    if module_name not in sys.modules:
        raise UsageError(
            f"the network {name} is code outside firstlight, which does not import a module that only a file names. "
            f"If you trust it, add --network_module {module_name} to the command, or `import {module_name}` first in "
            "Python"
        )
    try:
        found = reduce(getattr, path.split("."), sys.modules[module_name])
    except AttributeError as error:
        raise UsageError(f"network.name {name}: the module {module_name} has no {path}") from error
    if not (isinstance(found, type) and issubclass(found, StagedNetwork)):
        raise UsageError(f"network.name {name}: {path} is not a class derived from firstlight.networks.StagedNetwork")
    return found


def build_custom_network(
    num_classes: int, config: CustomNetworkConfig, mean: Sequence[float], std: Sequence[float]
) -> StagedNetwork:
    """Build a network of a class outside firstlight, with fresh weights, and check its attributes.

    Args:
        num_classes: Number of logits.
        config: Import path of the class, and its options.
        mean: Mean of the training images in [0, 1], one value per colour channel.
        std: Standard deviation of the training images, one value per colour channel.

    Raises:
        UsageError: The class is not found, does not take these arguments, or lacks an attribute.
    """
    network_class = find_network_class(config.name)
    arguments = {"num_classes": num_classes, "mean": mean, "std": std} | config.options
    try:
        inspect.signature(network_class).bind(**arguments)
    except TypeError as error:
        raise UsageError(f"{config.name} cannot be called with {', '.join(arguments)}: {error}") from error
    network = network_class(**arguments)
    if faults := _find_faults(network, num_classes):
        raise UsageError(f"the network {config.name} cannot be used: {'; '.join(faults)} (see docs/extending.md)")
    return network


def _find_faults(network: StagedNetwork, num_classes: int) -> list[str]:
    """Return a phrase for each missing or wrong attribute of a network."""
    faults = []
    children = dict(network.named_modules())
    stages = getattr(network, "stages", ())
    if not stages:
        faults.append("it names no stages")
    faults += [f"its stage {stage!r} is not a submodule" for stage in stages if stage not in children]
    for name, kind in (("normalize", Normalize), ("pool", nn.Module), ("head", nn.Linear)):
        if not isinstance(getattr(network, name, None), kind):
            faults.append(f"it has no {name} of type {kind.__name__}")
    head = getattr(network, "head", None)
    if isinstance(head, nn.Linear) and head.out_features != num_classes:
        faults.append(f"its head has {head.out_features} outputs for {num_classes} classes")
    return faults


def _is_about(error: ModuleNotFoundError, name: str) -> bool:
    """Whether the error is about the module itself or a package that contains it, not about one of its imports."""
    return error.name is not None and f"{name}.".startswith(f"{error.name}.")


def _import_failure(name: str, error: Exception) -> UsageError:
    if isinstance(error, ModuleNotFoundError) and _is_about(error, name):
        return UsageError(f"there is no module {name} in {os.getcwd()} or on the Python path")
    frame = traceback.extract_tb(error.__traceback__)[-1]
    location = f"{frame.filename}, line {frame.lineno}"
    return UsageError(f"importing {name} failed: {type(error).__name__}: {error} ({location})")
