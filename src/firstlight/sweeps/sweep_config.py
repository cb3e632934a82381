"""What all processes of a sweep have in common, and `sweep.json`, which keeps it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, TypedDict

from firstlight.errors import RunError, UsageError
from firstlight.files import write_atomic
from firstlight.recipes.config import MAX_RECIPE_BYTES, Recipe
from firstlight.recipes.nested import from_dict
from firstlight.sweeps.search_space import SearchSpace, space_of
from firstlight.sweeps.storage import PrunerName, SamplerName
from firstlight.typed_json import Between, PathText, read_json

FILE_NAME = "sweep.json"


@dataclass(frozen=True)
class SweepConfig:
    """What all processes of a sweep have in common; `sweep.json` keeps it.

    Args:
        recipe: Recipe whose fields are searched.
        space: The search space as plain values; see `firstlight.sweeps.search_space.read_space`.
        num_trials: Number of trials.
        data_dir: Folder of the data.
        sampler: How values are chosen.
        pruner: Which trials end early.
        seeds_per_trial: Trainings of a trial; its value is their mean accuracy.
        num_fresh_seeds: New seeds on which the best three trials are trained again; 0 for none.
        storage: Address of the database; None for the file in the folder of the sweep.
        trainer: Arguments of `pytorch_lightning.Trainer` that are numbers or text.
    """

    recipe: dict[str, Any]
    space: dict[str, Any]
    num_trials: int
    data_dir: str
    sampler: SamplerName = "tpe"
    pruner: PrunerName = "median"
    seeds_per_trial: int = 1
    num_fresh_seeds: int = 3
    storage: str | None = None
    trainer: dict[str, Any] | None = None

    @property
    def search_space(self) -> SearchSpace:
        """The search space with its recipe."""
        return space_of(self.space, from_dict(Recipe, self.recipe), "the space of the sweep")

    def save(self, folder: Path) -> None:
        """Write `sweep.json`."""
        write_atomic(folder / FILE_NAME, json.dumps(asdict(self), indent=2) + "\n")

    @staticmethod
    def load(folder: Path) -> SweepConfig:
        """Read `sweep.json`.

        Raises:
            RunError: The folder holds no sweep, or the file is damaged.
        """
        path = folder / FILE_NAME
        if not path.is_file():
            raise RunError(f"{folder}: holds no sweep ({FILE_NAME} is missing)")
        found = read_json(path, _SweepFile, "start a new sweep", MAX_RECIPE_BYTES)
        config = SweepConfig(**{name: found[name] for name in _SweepFile.__annotations__})
        try:
            config.search_space  # noqa: B018  # raises if the recipe or the space is damaged
        except (ValueError, TypeError, UsageError) as error:
            raise RunError(f"{path}: {error}; start a new sweep") from error
        return config


class _SweepFile(TypedDict):
    """The fields of `sweep.json`."""

    recipe: dict[str, Any]
    space: dict[str, Any]
    num_trials: Annotated[int, Between(1, 10**6)]
    data_dir: PathText
    sampler: SamplerName
    pruner: PrunerName
    seeds_per_trial: Annotated[int, Between(1, 10**3)]
    num_fresh_seeds: Annotated[int, Between(0, 10**3)]
    storage: str | None
    trainer: dict[str, Any] | None
