"""`firstlight fit --dry_run`: what a training would do, without training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from firstlight.data.decisions import decisions_from
from firstlight.data.sampler import EpochSampler
from firstlight.paths import DEFAULT_DATA_DIR, DEFAULT_LOGS_DIR, user_path
from firstlight.recipes.config import Recipe
from firstlight.runs.options import Steps, check_steps
from firstlight.training.bench import SIZES, Estimate, estimate
from firstlight.training.build import build
from firstlight.training.fit import choose_data
from firstlight.training.loggers.factory import check_logger
from firstlight.training.trainer import SILENT, Trainer, convert_trainer_errors

# Files of every tested run, in the order in which they are written.
FILES = (
    *("options.json", "recipe.yaml", "environment.json", "samples.png", "metrics.csv", "model.safetensors"),
    *("curves.png", "predictions.npz", "misclassified.png", "confusion.csv", "confusion.png", "reliability.png"),
    "results.json",
)


@dataclass(frozen=True)
class Plan:
    """What a training would do.

    Args:
        recipe: The recipe, adapted to the data.
        device: Kind of device, for instance "cpu".
        precision: Floating-point precision.
        num_processes: Number of processes, one for each device.
        num_images: Number of training and validation images.
        batch_sizes: Images of a full step in each process; their sum is the recipe's `batch_size`.
        steps_per_epoch: Training steps of an epoch.
        num_parameters: Number of the network's parameters.
        folder: The run folder that would be created, unless another run comes first.
        files: Files that would be in it at the end, and the logger's own.
        estimate: Estimated time, from some steps on noise images; None for other data than the built-in sets, and for
            several processes.
    """

    recipe: Recipe
    device: str
    precision: str
    num_processes: int
    num_images: tuple[int, int]
    batch_sizes: tuple[int, ...]
    steps_per_epoch: int
    num_parameters: int
    folder: Path
    files: tuple[str, ...]
    estimate: Estimate | None

    @property
    def num_steps(self) -> int:
        """Number of training steps of all epochs."""
        return self.steps_per_epoch * self.recipe.max_epochs


def plan_fit(
    recipe: Recipe,
    data_dir: Path | str = DEFAULT_DATA_DIR,
    logs_dir: Path | str = DEFAULT_LOGS_DIR,
    *,
    logger: str = "tensorboard",
    steps: Steps = "recorded",
    decisions: Path | str | None = None,
    **trainer_options: Any,
) -> Plan:
    """Return what `firstlight.fit` would do with these arguments. Nothing is written.

    Args:
        recipe: See `firstlight.fit`; so are the other arguments.
        data_dir: Folder of the data.
        logs_dir: Folder of all runs.
        logger: Name of the logger.
        steps: How a GPU runs the training steps.
        decisions: Decisions of an audit.
        **trainer_options: Any argument of `pytorch_lightning.Trainer`.

    Raises:
        FirstlightError: See `firstlight.fit`.
    """
    check_logger(logger)
    check_steps(steps)
    trainer_options.pop("histograms", None)
    module, data = build(choose_data(recipe, data_dir), data_dir, steps, decisions=decisions_from(decisions))
    with convert_trainer_errors():
        trainer = Trainer(max_epochs=data.recipe.max_epochs, **(trainer_options | SILENT))
    count, ranks = len(data.train), trainer.world_size
    size = min(data.recipe.batch_size, count)
    sampler = EpochSampler(count, data.recipe.batch_size, shuffle=True, seed=0, num_ranks=ranks)
    num_steps = _limited(len(sampler), trainer_options.get("limit_train_batches"))
    is_known = data.recipe.data in SIZES and ranks == 1
    return Plan(
        recipe=data.recipe,
        device=trainer.strategy.root_device.type,
        precision=str(trainer.precision),
        num_processes=ranks,
        num_images=(count, len(data.val)),
        batch_sizes=tuple(size // ranks + (rank < size % ranks) for rank in range(ranks)),
        steps_per_epoch=num_steps,
        num_parameters=sum(parameter.numel() for parameter in module.network.parameters()),
        folder=_next_version(user_path(logs_dir) / data.recipe.name),
        files=(*FILES, *_files_of(logger, num_steps * data.recipe.max_epochs)),
        estimate=estimate(replace(data.recipe, num_val=len(data.val))) if is_known else None,
    )


def _limited(num_batches: int, limit: float | None) -> int:
    """Return the number of batches under Lightning's limit: a number of batches, or their share."""
    if limit is None:
        return num_batches
    return min(num_batches, limit) if isinstance(limit, int) else int(num_batches * limit)


def _next_version(parent: Path) -> Path:
    """Return the first folder `version_<n>` that does not exist."""
    number = 0
    while (path := parent / f"version_{number}").exists():
        number += 1
    return path


def _files_of(logger: str, num_steps: int) -> tuple[str, ...]:
    """Return what the logger adds to a run folder; TensorBoard's projector names its folder by the last step."""
    if logger == "tensorboard":
        return "events.out.tfevents.*", "hparams.yaml", "projector_config.pbtxt", f"{num_steps:05d}"
    return ("csv",) if logger == "csv" else ()
