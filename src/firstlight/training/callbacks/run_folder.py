"""The callback that writes a run folder, for `firstlight.fit` and for `firstlight.Trainer`."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities import rank_zero_only
from torch import nn

from firstlight.data.batches import Batches
from firstlight.evaluation.calibration import Calibration
from firstlight.paths import DEFAULT_LOGS_DIR
from firstlight.recipes.config import Recipe
from firstlight.runs.run import Run
from firstlight.runs.versions import new_version
from firstlight.training.announcement import announce
from firstlight.training.calibrate_network import calibrate_network
from firstlight.training.callbacks.best_epoch import BestEpoch
from firstlight.training.callbacks.metrics_csv import MetricsTable
from firstlight.training.callbacks.misclassified import MisclassifiedImages
from firstlight.training.data_module import ImageData
from firstlight.training.disk_space import refuse_full_disk
from firstlight.training.module import Classifier
from firstlight.training.save_run import (
    discard_test,
    effective_recipe,
    exact_metrics,
    fits_recipe,
    save_description,
    save_environment,
    save_test,
    save_training,
    tensorboards,
)
from firstlight.training.training_clock import TrainingClock

EXERCISE = "exercise"  # folder in `logs` for the runs of `firstlight.Trainer`


class RunFolder(pl.Callback):
    """Writes recipe, weights, predictions, results and figures, so that `firstlight.load` opens the folder.

    It must come after `table` and `sheet` in the list of callbacks, because `results.json` is written last.

    Without `path`, the callback chooses the folder: TensorBoard's, or a new one in `logs/exercise` for other loggers.
    A training without a test is then a finished run, too. The callback writes a folder only if later commands can open
    it: the module is a `Classifier`, its network matches its recipe, and the images are those of its data module.

    Args:
        table: Callback that writes `metrics.csv`.
        sheet: Callback that writes `misclassified.png`.
        path: Folder that `firstlight.fit` has created.
        clock: Clock of the training, with its last logged values; `firstlight.fit` restores it on resume.
    """

    def __init__(
        self,
        table: MetricsTable,
        sheet: MisclassifiedImages,
        path: Path | None = None,
        clock: TrainingClock | None = None,
    ) -> None:
        self.path = path
        self._table, self._sheet = table, sheet
        self._clock = clock or TrainingClock()
        self._is_begun_by_fit = path is not None
        self._recipe: Recipe | None = None  # as it was written to the folder
        self._results: dict[str, float] = {}  # of the training
        self._test_started_s = 0.0
        self._calibration: Calibration | None = None  # of the tested weights
        self._set_paths()

    def _set_paths(self) -> None:
        self._table.path = self.path and self.path / "metrics.csv"
        self._sheet.path = self.path and self.path / "misclassified.png"

    def check_disk(self, trainer: pl.Trainer, module: nn.Module) -> None:
        """Check before a training, and before a logger opens its files, that a run folder can be made.

        Raises:
            WriteError: The disk has too little space, or a file is in the place of the folder.
        """
        if not self._is_begun_by_fit and trainer.loggers and isinstance(module, Classifier):  # `fit` checks it itself
            refuse_full_disk(Path(trainer.default_root_dir) / DEFAULT_LOGS_DIR / EXERCISE, module.network)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Choose the folder and start the clock."""
        if stage not in ("fit", "test") or not isinstance(pl_module, Classifier):
            return
        if self.path is None:
            self.choose_path(trainer)
        if stage == "fit":
            self._clock.start_fit()
        else:
            self._test_started_s = time.perf_counter()

    def choose_path(self, trainer: pl.Trainer) -> None:
        """Choose the folder; the processes of a trainer choose the same one."""
        self.path = trainer.strategy.broadcast(_new_folder(trainer) if trainer.is_global_zero else None)
        self._set_paths()

    @rank_zero_only
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the recipe and the environment, and announce the training."""
        self._recipe, self._results = None, {}
        opened = self._open_run(trainer, pl_module, "train")
        if opened is not None:
            run, module, data = opened
            announce(trainer, module, data, run.path)
        elif self.path is not None:
            logging.getLogger("firstlight").info(
                "this training leaves no run folder: its images are not those of the model's data, or its network is "
                "not that of the model's recipe"
            )

    @rank_zero_only
    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the weights and the figures of the training."""
        best = BestEpoch.of(trainer)  # the last validation is not that of the kept weights
        self._results = self._clock.logged(trainer) | (best.metrics if best is not None else {})
        self._results["train_s"] = self._clock.train_s
        opened = self._open_run(trainer, pl_module, "train")
        if opened is None:
            return
        run, module, data = opened
        discard_test(run.path)  # a test of earlier weights
        save_training(run, module.network, data, trainer)
        if not self._is_begun_by_fit:
            save_environment(run, data, trainer)
            run.save_json("results.json", self._results | {"total_s": self._results["train_s"]})

    @rank_zero_only
    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Find the calibration of the tested weights, which need not be the last ones of the training."""
        if isinstance(pl_module, Classifier):
            self._calibration = self._find_calibration(trainer, pl_module)
            pl_module.temperature = self._calibration.temperature if self._calibration else 1.0

    def _find_calibration(self, trainer: pl.Trainer, module: Classifier) -> Calibration | None:
        if self.path is not None and (self.path / "model.safetensors").is_file():
            run = Run(self.path)
            if self._is_begun_by_fit or run.holds_weights(module.network):
                return run.calibration
        data = _data_of(trainer, module, "test")
        return None if data is None else calibrate_network(module.network, data)

    @rank_zero_only
    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the tested weights, their predictions and the results."""
        self._continue_run(pl_module)
        opened = self._open_run(trainer, pl_module, "test")
        if opened is None:
            return
        run, module, data = opened
        module.run_path = run.path
        if not self._is_begun_by_fit and not run.holds_weights(module.network):
            run.save_weights(module.network, data.test, self._calibration)
        tested = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.finish(trainer, module, run, data, tested)

    @rank_zero_only
    def finish(
        self, trainer: pl.Trainer, module: Classifier, run: Run, data: ImageData, tested: dict[str, float]
    ) -> None:
        """Write the results; `fit` calls this itself if Lightning has skipped the test.

        Args:
            trainer: Trainer of the test.
            module: Tested module.
            run: Run to finish.
            data: Data of the run.
            tested: Metrics of the test.
        """
        predictions = module.test_predictions
        results = self._results | tested | (exact_metrics(predictions) if predictions is not None else {})
        results["total_s"] = self._clock.total_s if self._is_begun_by_fit else self._train_and_test_s()
        save_test(run, data, predictions, trainer, results)

    def state_dict(self) -> dict[str, Any]:
        """Return the seconds of training so far, for a checkpoint of Lightning's."""
        return {} if self._is_begun_by_fit else {"train_s": self._results.get("train_s", self._clock.train_s)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Add the seconds of the training that the checkpoint continues; `Checkpointing` does so for `fit`."""
        if not self._is_begun_by_fit:
            self._clock.earlier_s = float(state_dict["train_s"])

    def _train_and_test_s(self) -> float:
        """Return the seconds of training and test, without the time in between, when a notebook may idle."""
        return self._results.get("train_s", 0.0) + time.perf_counter() - self._test_started_s

    def discard_predictions(self, module: Classifier) -> None:
        """Discard the predictions of an earlier test before other processes run the next one."""
        module.test_predictions = module.test_images = module.run_path = None
        if self.path is not None:
            (self.path / "predictions.npz").unlink(missing_ok=True)

    def load_predictions(self, module: Classifier) -> None:
        """Load into the module the predictions that other processes have written, if there are any."""
        data = getattr(module, "data", None)
        if self.path is None or not isinstance(data, ImageData) or not (self.path / "predictions.npz").is_file():
            return
        data.setup("test")
        run = Run(self.path)
        module.test_predictions, module.test_images, module.run_path = run.predictions, data.test, self.path
        module.temperature = run.temperature

    def _continue_run(self, pl_module: pl.LightningModule) -> None:
        """Read the results of the training from its folder if they were computed in a process that has ended."""
        if self._is_begun_by_fit or self._results or self.path is None or not (self.path / "recipe.yaml").is_file():
            return
        run = Run(self.path)
        if not isinstance(pl_module, Classifier) or not run.is_finished or "train_s" not in run.results:
            return
        if run.holds_weights(pl_module.network):
            self._recipe, self._results = run.recipe, run.results

    def _open_run(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, split: str
    ) -> tuple[Run, Classifier, ImageData] | None:
        """Return the run, its module and its data; None if no run folder is written.

        If `fit` has not created the folder, the first call writes the run's description, and so does every call after
        a change of the recipe.
        """
        if self.path is None or not isinstance(pl_module, Classifier):
            return None
        if self._is_begun_by_fit:
            return Run(self.path), pl_module, _data_module(trainer)
        data = _data_of(trainer, pl_module, split)
        if data is None:
            return None
        is_trained_here = split == "train" or bool(self._results)
        recipe = effective_recipe(pl_module.recipe, data, trainer.max_epochs if is_trained_here else None)
        if not fits_recipe(pl_module.network, recipe, getattr(data, split)):
            return None
        if recipe != self._recipe:
            save_description(self.path, recipe, data)
            self._recipe = recipe
        return Run(self.path), pl_module, data


def _data_of(trainer: pl.Trainer, module: pl.LightningModule, split: str) -> ImageData | None:
    """Return the data module whose images the trainer has used; None if the user passed other loaders."""
    batches: Any = trainer.train_dataloader if split == "train" else trainer.test_dataloaders
    for data in (_data_module(trainer), getattr(module, "data", None)):
        if isinstance(data, ImageData) and isinstance(batches, Batches) and batches.set is getattr(data, split, None):
            return data
    return None


def _data_module(trainer: pl.Trainer) -> Any:
    return getattr(trainer, "datamodule", None)


def _new_folder(trainer: pl.Trainer) -> Path | None:
    """Return TensorBoard's folder; a new one if the user has chosen other loggers; None without loggers."""
    for logger in tensorboards(trainer):
        return Path(logger.log_dir)
    return new_version(Path(trainer.default_root_dir) / DEFAULT_LOGS_DIR / EXERCISE) if trainer.loggers else None
