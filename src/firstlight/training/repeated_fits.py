"""`firstlight.fit_seeds`: train a recipe with several seeds, and summarize the runs."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypedDict

from firstlight.data.decisions import decisions_from
from firstlight.errors import RunError, StoppedError, UsageError
from firstlight.evaluation.student_t import MetricSummary, summarize_values
from firstlight.file_lock import locked
from firstlight.files import write_atomic
from firstlight.paths import DEFAULT_DATA_DIR, DEFAULT_LOGS_DIR, user_path
from firstlight.ray_cluster import RayCluster, call_each, connect, stop_signals
from firstlight.recipes.config import Recipe
from firstlight.runs.options import FitOptions
from firstlight.runs.run import Run
from firstlight.training.fit import fit
from firstlight.training.resume import resume
from firstlight.typed_json import read_json

SUMMARY = "summary.json"
LOCK = ".lock"  # held while a process adds a run to the summary
METRICS = ("test_acc", "test_acc_tta", "test_loss", "val_acc", "val_loss", "train_s")


class SummaryFields(TypedDict):
    """The fields of `summary.json` that a later call reads."""

    request: dict[str, Any]
    runs: dict[str, str]


# Trains one run; calls its argument with the run folder.
Fit = Callable[[Callable[[Path], None]], Run]


@dataclass(frozen=True)
class RepeatedFits:
    """Runs of one recipe with several seeds.

    Args:
        path: Folder of `summary.json`.
        runs: The runs, by seed.
        metrics: Mean, standard deviation and bounds of each metric that all runs have.
    """

    path: Path
    runs: tuple[Run, ...]
    metrics: dict[str, MetricSummary]


def fit_seeds(
    recipe: Recipe,
    num_seeds: int,
    data_dir: Path | str = DEFAULT_DATA_DIR,
    logs_dir: Path | str = DEFAULT_LOGS_DIR,
    *,
    cluster: RayCluster | None = None,
    **options: Any,
) -> RepeatedFits:
    """Train and test a recipe with several seeds, one after the other on one device, or spread over a Ray cluster.

    The run folders are in `logs_dir/<recipe>`. Beside them, `seeds_<n>/summary.json` lists the runs, with the mean, the
    standard deviation and the lower 95 % bound of their metrics. A second call with the same recipe, data and options
    returns the finished runs, resumes an interrupted one and trains the others.

    Args:
        recipe: Network, data and training; its seed is that of the first run, and each further run adds one.
        num_seeds: Number of runs, at least 2.
        data_dir: Folder of the data sets, or one folder of images per class.
        logs_dir: Folder of all runs.
        cluster: Ray cluster; its machines must see `logs_dir` and `data_dir` at the same paths. A run whose worker dies
            is resumed by another.
        **options: Further arguments of `firstlight.fit`.

    Raises:
        UsageError: There are fewer than two seeds, or `options` ask for several devices.
        StoppedError, TrainingError, FirstlightError: See `firstlight.fit`.
    """
    if num_seeds < 2:
        raise UsageError(f"seeds must be 2 or more, not {num_seeds}: a single run needs no --seeds")
    options = on_one_device(options)
    if cluster is not None:  # a worker has another current folder
        logs_dir = user_path(logs_dir).absolute()
        data_dir = user_path(data_dir).absolute() if user_path(data_dir).exists() else data_dir
    group = FitGroup.open("seeds", replace(recipe, seed=0), data_dir, logs_dir, options)
    recipes = [replace(recipe, seed=seed) for seed in range(recipe.seed, recipe.seed + num_seeds)]
    calls = [(group, each, data_dir, logs_dir, options) for each in recipes]
    if cluster is None:
        runs = [Run(fit_seed(*each)) for each in calls]
    else:
        with connect(cluster), stop_signals("stopped; repeat the command to continue"):
            runs = [Run(path) for path in call_each(cluster, f"{__name__}:fit_seed", calls)]
    metrics = summarize_metrics(runs)
    group.write_summary({"metrics": {name: asdict(summary) for name, summary in metrics.items()}})
    return RepeatedFits(group.path, tuple(runs), metrics)


def fit_seed(
    group: FitGroup, recipe: Recipe, data_dir: Path | str, logs_dir: Path | str, options: Mapping[str, Any]
) -> Path:
    """Return the folder of a finished run of the group: an earlier one, an interrupted one resumed, or a new one.

    Args:
        group: Runs with the same recipe and several seeds.
        recipe: Recipe with the seed of the run.
        data_dir: Folder of the data.
        logs_dir: Folder of all runs.
        options: Options of `firstlight.fit`.
    """

    def start(on_start: Callable[[Path], None]) -> Run:
        return fit(recipe, data_dir, logs_dir, on_start=on_start, **options)

    return group.train(f"seed {recipe.seed}", start).path


def summarize_metrics(runs: list[Run]) -> dict[str, MetricSummary]:
    """Return mean, standard deviation and bounds of each metric that all runs have."""
    return {
        name: summarize_values([float(run.results[name]) for run in runs])
        for name in METRICS
        if all(name in run.results for run in runs)
    }


def on_one_device(options: dict[str, Any]) -> dict[str, Any]:
    """Return options of `firstlight.fit` for a training in one process.

    Raises:
        UsageError: The options ask for several devices; their processes could disagree about which run comes next.
    """
    if options.get("devices", "auto") not in ("auto", 1, "1") or options.get("num_nodes", 1) != 1:
        raise UsageError("several runs are trained one after the other on one device: leave out devices and num_nodes")
    return options | {"devices": 1}


class FitGroup:
    """Runs that belong together. A file lists those that were begun, so that a later call can continue.

    Several processes can train runs of one group.

    Args:
        path: Folder of `summary.json`.
        request: What all runs of the group have in common.
        data_dir: Folder of the data.
        objects: Options of `fit` that a file cannot hold; a resumed run receives them again.
    """

    def __init__(
        self,
        path: Path,
        request: dict[str, Any],
        data_dir: Path | str,
        objects: dict[str, Any],
    ) -> None:
        self.path = path
        self._request = request
        self._data_dir = data_dir
        self._objects = objects

    @staticmethod
    def open(
        kind: str, recipe: Recipe, data_dir: Path | str, logs_dir: Path | str, options: Mapping[str, Any]
    ) -> FitGroup:
        """Open the group of the same kind, recipe, data and options, or begin a new one.

        Args:
            kind: Beginning of the folder's name.
            recipe: Recipe that the runs have in common.
            data_dir: Folder of the data.
            logs_dir: Folder of all runs.
            options: Options of `fit`.
        """
        split = FitOptions.of("", False, "plain", dict(options))
        request = {
            "recipe": json.loads(json.dumps(recipe.to_dict())),
            "data_dir": str(user_path(data_dir).absolute()),
            "options": json.loads(
                json.dumps({name: split.trainer[name] for name in split.trainer if name != "callbacks"})
            ),
        }
        decisions = decisions_from(options.get("decisions"))
        if decisions is not None:
            request["options"].pop("decisions", None)  # the path of the file
            request["decisions"] = decisions.digest
        objects = {name: options[name] for name in split.unsaved if name not in ("checkpoints", "decisions")}
        parent = user_path(logs_dir) / recipe.name
        number = 0
        while (path := parent / f"{kind}_{number}").exists():
            if _read_names(path, request) is not None:
                break
            number += 1
        return FitGroup(path, request, data_dir, objects)

    def train(self, key: str, start: Fit) -> Run:
        """Return the run of this key: the finished one, the interrupted one resumed, or a new one.

        Args:
            key: What distinguishes the run within the group, for instance its seed.
            start: Function that trains a new run and calls its argument with the run folder.
        """
        log = logging.getLogger("firstlight")
        run = self._known(key)
        if run is not None and run.is_finished:
            log.info(f"{key}: {run.path} is finished")
            return run

        def note(folder: Path) -> None:
            self.path.mkdir(parents=True, exist_ok=True)
            with locked(self.path / LOCK):
                self._write(self._names | {key: folder.name}, {})

        try:
            if run is not None:
                return resume(run, self._data_dir, **self._objects)
            log.info(f"{key}:")
            return start(note)
        except StoppedError as error:
            raise StoppedError(
                f"{error} (or repeat the command, which then also trains the other runs)",
                error.exit_status,
            ) from error

    def write_summary(self, results: dict[str, Any]) -> None:
        """Write `summary.json`.

        Args:
            results: Further entries of the file, besides the request and the run folders.
        """
        self._write(self._names, results)

    def _write(self, names: dict[str, str], results: dict[str, Any]) -> None:
        content = {"request": self._request, "runs": names} | results
        write_atomic(self.path / SUMMARY, json.dumps(content, indent=2) + "\n")

    @property
    def _names(self) -> dict[str, str]:
        """Name of the run folder of each run that was begun."""
        return _read_names(self.path, self._request) or {}

    def _known(self, key: str) -> Run | None:
        """Return the run of this key if its folder is there."""
        try:
            return Run(self.path.parent / self._names[key])
        except (KeyError, RunError):
            return None


def _read_names(path: Path, request: dict[str, Any]) -> dict[str, str] | None:
    """Return the run folders of a group; None if it is another group, or its file is missing or damaged."""
    file = path / SUMMARY
    if not file.exists():
        return None
    try:
        found = read_json(file, SummaryFields, "its runs are not continued")
    except RunError as error:
        logging.getLogger("firstlight").warning(f"warning: {error}")
        return None
    if found["request"] != request:
        return None
    return {key: name for key, name in found["runs"].items() if Path(name).name == name != ".."}
