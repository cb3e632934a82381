"""The options of a run that are not in its recipe; `options.json` keeps them, so that the run can be resumed."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from firstlight.data.folds import Fold
from firstlight.errors import RunError, UsageError
from firstlight.files import write_atomic
from firstlight.runs.run_files import OptionsFields
from firstlight.typed_json import read_json

FILE_NAME = "options.json"
UNSAVED_KEY = "not_kept"  # name of `FitOptions.unsaved` in the file

Steps = Literal["plain", "recorded", "compiled"]


@dataclass(frozen=True)
class FitOptions:
    """The options of `fit` that are not part of the recipe.

    Args:
        logger: Name of the logger.
        histograms: Whether histograms of weights and gradients are written to TensorBoard.
        steps: How a GPU runs the training steps: "plain" launches every kernel by itself, "recorded" captures the steps
            as CUDA graphs and replays them, "compiled" also compiles the steps before it captures them.
        trainer: Arguments of Lightning's Trainer that are numbers or text.
        unsaved: Names of the arguments that are objects, which must be passed to `resume` again (`not_kept` on disk).
        fold: Index of the run's fold and the number of folds, if the run belongs to a cross-validation.
        test: Whether the trained network is tested.
    """

    logger: str = "tensorboard"
    histograms: bool = False
    steps: Steps = "recorded"
    trainer: dict[str, Any] = field(default_factory=dict)
    unsaved: list[str] = field(default_factory=list)
    fold: list[int] | None = None
    test: bool = True

    @staticmethod
    def of(logger: str, histograms: bool, steps: Steps, trainer: dict[str, Any]) -> FitOptions:
        """Collect the options of `fit`; of Trainer arguments that a file cannot hold, keep only the names.

        >>> FitOptions.of("none", False, "plain", {"devices": 2, "callbacks": [object()]}).unsaved
        ['callbacks']
        """
        kept = {name: value for name, value in trainer.items() if _is_plain(value)}
        return FitOptions(logger, histograms, steps, kept, sorted(set(trainer) - set(kept)))

    def save(self, folder: Path) -> None:
        """Write `options.json`."""
        values = asdict(self)
        values[UNSAVED_KEY] = values.pop("unsaved")
        write_atomic(folder / FILE_NAME, json.dumps(values, indent=2) + "\n")

    @staticmethod
    def load(folder: Path) -> FitOptions:
        """Read `options.json`.

        Raises:
            RunError: The file is missing or damaged.
        """
        path = folder / FILE_NAME
        if not path.exists():
            raise RunError(
                f"{folder} has no {FILE_NAME}, so it cannot be resumed. Continue a training that was started in Python "
                "with trainer.fit(model, ckpt_path=...)"
            )
        values = read_json(path, OptionsFields, "the run cannot be resumed; start a new one")
        fold = values.get("fold")
        if fold is not None and not 0 <= fold[0] < fold[1]:
            raise RunError(f"{path}: fold must be an index and a larger number of folds, not {fold}")
        unsaved = values.pop(UNSAVED_KEY, [])
        try:
            return FitOptions(**values, unsaved=unsaved)
        except TypeError as error:
            raise RunError(f"{path}: has options that firstlight does not know; start a new run") from error


def fold_of(folder: Path) -> Fold | None:
    """Return the fold of a cross-validation that a run was validated on; None for other runs.

    Raises:
        RunError: `options.json` is damaged.
    """
    fold = FitOptions.load(folder).fold if (folder / FILE_NAME).is_file() else None
    return None if fold is None else Fold(*fold)


def check_steps(steps: str) -> None:
    """Raise UsageError unless `steps` is one of "plain", "recorded" and "compiled"."""
    if steps not in get_args(Steps):
        raise UsageError(f"steps must be one of {', '.join(get_args(Steps))}, not {steps!r}")


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_plain(each) for each in value)
    return value is None or isinstance(value, bool | int | float | str)
