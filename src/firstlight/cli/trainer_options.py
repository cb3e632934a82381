"""The common arguments of Lightning's Trainer as typed options. Other arguments are set by `--trainer.KEY VALUE`."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import yaml

from firstlight.errors import UsageError

# Arguments of Lightning's Trainer that `--trainer.KEY` cannot set, because `firstlight fit` sets them itself.
RESERVED_ARGUMENTS = frozenset(("max_epochs", "logger", "callbacks", "fast_dev_run"))


@dataclass(frozen=True)
class TrainerOptions:
    """Options of Lightning's Trainer.

    Args:
        accelerator: Kind of device: cpu, gpu, mps, tpu or auto.
        devices: Number of devices, or their indices as a list, or auto for all of them.
        num_nodes: Number of machines.
        strategy: How several devices share the work, for instance ddp.
        precision: Floating-point precision, for instance 32-true. By default bf16-mixed if the hardware computes
            bfloat16, else 16-mixed on a GPU and 32-true on other devices.
        max_time: Longest training time, as DD:HH:MM:SS.
        limit_train_batches: Number of training batches per epoch, or their share if it is a float.
        limit_val_batches: Number of validation batches per epoch, or their share if it is a float.
        limit_test_batches: Number of test batches, or their share if it is a float.
        log_every_n_steps: Number of steps between two logged values.
        gradient_clip_val: Largest norm of the gradient; larger gradients are scaled down.
    """

    accelerator: str = "auto"
    devices: int | str = "auto"
    num_nodes: int = 1
    strategy: str = "auto"
    precision: str | None = None
    max_time: str | None = None
    limit_train_batches: int | float | None = None
    limit_val_batches: int | float | None = None
    limit_test_batches: int | float | None = None
    log_every_n_steps: int = 10
    gradient_clip_val: float | None = None


def split_trainer_extras(arguments: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Split off every `--trainer.KEY VALUE` that `TrainerOptions` lacks but Lightning's Trainer knows.

    Args:
        arguments: Arguments of the command line.

    Returns:
        The remaining arguments, and the options that were split off, with their values read as YAML.

    Raises:
        UsageError: Lightning's Trainer has no such argument, or the value is missing.
    """
    typed = {each.name for each in fields(TrainerOptions)}
    rest: list[str] = []
    extras: dict[str, Any] = {}
    remaining = list(arguments)
    while remaining:
        argument = remaining.pop(0)
        key, equals, value = argument.removeprefix("--trainer.").partition("=")
        if not argument.startswith("--trainer.") or key in typed:
            rest.append(argument)
            continue
        _check_known(key)
        if not equals:
            if not remaining:
                raise UsageError(f"--trainer.{key} needs a value")
            value = remaining.pop(0)
        extras[key] = yaml.safe_load(value)
    return rest, extras


def _check_known(key: str) -> None:
    from firstlight.training.trainer import lightning_options

    known = [name for name in lightning_options() if name not in RESERVED_ARGUMENTS]
    if key not in known:
        close = difflib.get_close_matches(key, known, n=1)
        hint = f"; did you mean --trainer.{close[0]}?" if close else ""
        raise UsageError(f"--trainer.{key}: Lightning's Trainer has no such option{hint}")
