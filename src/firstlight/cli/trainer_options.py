"""The common options of Lightning's Trainer, typed; any other by `--trainer.KEY VALUE`."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import yaml

from firstlight.errors import UsageError

OURS = frozenset(("max_epochs", "logger", "callbacks", "fast_dev_run"))  # set by options of their own


@dataclass(frozen=True)
class TrainerOptions:
    """Options of Lightning's Trainer.

    Args:
        accelerator: cpu, gpu, mps, tpu, or auto.
        devices: how many, or which.
        num_nodes: how many machines.
        strategy: how several devices work together, for instance ddp.
        precision: for instance 32-true or bf16-mixed; by default the one that suits the device.
        max_time: stop after this long, as DD:HH:MM:SS.
        limit_train_batches: batches (or share) of each epoch to train on.
        limit_val_batches: likewise, to validate on.
        limit_test_batches: likewise, to test on.
        log_every_n_steps: steps between two logged points.
        gradient_clip_val: largest norm of the gradient.
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
    """Take out every `--trainer.KEY VALUE` that is not typed above but that Lightning's Trainer knows.

    Args:
        arguments: of the command line.

    Returns:
        The other arguments, and the options taken out, their values read as YAML.

    Raises:
        UsageError: Lightning's Trainer has no such option, or the value is missing.
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

    known = [name for name in lightning_options() if name not in OURS]
    if key not in known:
        close = difflib.get_close_matches(key, known, n=1)
        hint = f"; did you mean --trainer.{close[0]}?" if close else ""
        raise UsageError(f"--trainer.{key}: Lightning's Trainer has no such option{hint}")
