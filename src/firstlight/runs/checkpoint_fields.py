"""The fields of a checkpoint, with their types and ranges.

Lightning and PyTorch restore most of them unchecked, and a wrong one would end in a traceback many steps later.
"""

from __future__ import annotations

import reprlib
from typing import Any, NotRequired, TypedDict

import torch

from firstlight.typed_json import Amount, Count, FieldError, Share, check

COUNTERS = ("ready", "completed", "started", "processed", "_batches_that_stepped")
PARTS = ("total", "current", "optimizer", "step", "zero_grad")


class Counts(TypedDict):
    """Counters of one of Lightning's loops."""

    ready: Count
    completed: Count


class Progress(TypedDict):
    """Progress of one of Lightning's loops."""

    total: Counts
    current: Counts


FitLoop = TypedDict(
    "FitLoop", {"state_dict": dict[str, Any], "epoch_progress": Progress, "epoch_loop.batch_progress": Progress}
)


class Loops(TypedDict):
    """The loops of Lightning that firstlight rewinds."""

    fit_loop: FitLoop


class RandomStates(TypedDict):
    """The states of PyTorch's random number generators."""

    cpu: torch.Tensor
    cuda: list[torch.Tensor]


class Position(TypedDict):
    """The batch with which a training continues."""

    epoch: Count
    next_batch: Count


class OwnFields(TypedDict):
    """The entries of firstlight; see `training.callbacks.checkpointing`."""

    recipe: str
    train_s: Amount
    logged: dict[str, Any]
    is_trained: bool
    event_sizes: dict[str, Count]
    random: RandomStates
    next_batch: NotRequired[Position]


class OptimizerFields(TypedDict):
    """The state of an optimizer."""

    state: dict[str, dict[str, Any]]  # by the index of the parameter
    param_groups: list[dict[str, Any]]


class SchedulerFields(TypedDict):
    """The state of a learning-rate schedule, which PyTorch takes over unchecked."""

    base_lrs: list[Amount]
    last_epoch: Count
    _step_count: NotRequired[Count]
    _last_lr: NotRequired[list[Amount]]
    lr_lambdas: list[dict[str, Any] | None]


class TableFields(TypedDict):
    """The state of the callback that writes `metrics.csv`."""

    rows: list[dict[str, Any]]
    validation: NotRequired[dict[str, float]]
    seconds: NotRequired[Amount]


class CallbackFields(TypedDict):
    """The states of callbacks by name; callbacks of the user are not known here."""

    MetricsTable: NotRequired[TableFields]


class CheckpointFields(TypedDict):
    """The parts of a checkpoint."""

    state_dict: dict[str, torch.Tensor]
    loops: Loops
    optimizer_states: list[OptimizerFields]
    lr_schedulers: list[SchedulerFields]
    callbacks: CallbackFields
    firstlight: OwnFields


def check_checkpoint(content: dict[str, Any]) -> None:
    """Raise FieldError unless the parts of a checkpoint have their types, ranges and shapes.

    Args:
        content: Content of a checkpoint, which has all parts.
    """
    check(content, CheckpointFields, "")
    _check_random_state(content["firstlight"]["random"]["cpu"])
    _check_counters(content["loops"], "loops")
    shapes = {tensor.shape for tensor in content["state_dict"].values()} | {torch.Size()}
    for number, optimizer in enumerate(content["optimizer_states"]):
        _check_optimizer(optimizer, shapes, f"optimizer_states.{number}")
    for name, value in content["firstlight"]["logged"].items():
        if isinstance(value, bool) or not isinstance(value, int | float):  # a metric of the user's may be NaN
            raise FieldError(f"firstlight.logged.{name} must be a number, not {reprlib.repr(value)}")
    for number, row in enumerate(content["callbacks"].get("MetricsTable", {}).get("rows", [])):
        for name, value in row.items():
            if value != "":
                check(value, float, f"callbacks.MetricsTable.rows.{number}.{name}")


def _check_counters(value: dict[str, Any], name: str) -> None:
    """Check the counters of Lightning's loops: it restores them unchecked, and compares them in later steps."""
    for key, each in value.items():
        where = f"{name}.{key}"
        if key in COUNTERS:
            check(each, Count, where)
        elif key == "is_last_batch":
            check(each, bool, where)
        elif isinstance(each, dict):
            _check_counters(each, where)
        elif key in PARTS or key.endswith(("progress", "state_dict")):
            raise FieldError(f"{where} must be named values, not {reprlib.repr(each)}")


def _check_optimizer(optimizer: dict[str, Any], shapes: set[torch.Size], name: str) -> None:
    """Check that an optimizer has numbers, and tensors of the shapes of weights."""
    names = {frozenset(values) for values in optimizer["state"].values()}
    if len(names) > 1:
        raise FieldError(f"{name}.state must have the same values for each weight")
    for index, values in optimizer["state"].items():
        for key, value in values.items():
            where = f"{name}.state.{index}.{key}"
            if key == "step" and not isinstance(value, torch.Tensor):
                check(value, Amount, where)
            elif value is not None and not isinstance(value, torch.Tensor):  # SGD without momentum has None
                raise FieldError(f"{where} must be a tensor, not {reprlib.repr(value)}")
            elif value is not None and value.shape not in shapes:
                raise FieldError(f"{where} has the shape {list(value.shape)}, which no weight has")
    for number, group in enumerate(optimizer["param_groups"]):
        for key, value in group.items():
            where = f"{name}.param_groups.{number}.{key}"
            if key in ("params", "betas"):
                each = Count if key == "params" else Share
                check(list(value) if isinstance(value, tuple) else value, list[each], where)  # type: ignore[valid-type]
            elif not isinstance(value, bool | str | torch.Tensor | None):
                check(value, Amount, where)


def _check_random_state(state: torch.Tensor) -> None:
    expected = torch.get_rng_state()
    if state.dtype != expected.dtype or state.shape != expected.shape:
        raise FieldError(f"firstlight.random.cpu must be {len(expected)} bytes, not {state.dtype} {list(state.shape)}")
