"""The LightningModule: a network, its loss, and the metrics that are logged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging
from torch import Tensor, nn
from torchmetrics.aggregation import MeanMetric

from firstlight.attribution import DEFAULT_METHOD
from firstlight.augment.progressive import progress_at
from firstlight.compiled import compile_in_place, rename_loaded_state, rename_saved_state, uncompiled
from firstlight.data.batches import Batch, Batches
from firstlight.data.images import ImageSet
from firstlight.evaluation.mistakes import DEFAULT_COUNT, MistakeFilter
from firstlight.evaluation.predictions import Predictions, with_file_names
from firstlight.evaluation.tta_views import averaged_logits
from firstlight.networks import StagedNetwork
from firstlight.plots.figure import Figure
from firstlight.recipes.config import MuonConfig, Recipe
from firstlight.runs.options import Steps
from firstlight.training.callbacks.best_epoch import BestEpoch
from firstlight.training.callbacks.channels_last import ChannelsLast
from firstlight.training.callbacks.epoch_means import EpochMeans
from firstlight.training.callbacks.finite_loss import FiniteLoss
from firstlight.training.callbacks.freezing import Freezing
from firstlight.training.checked_batch import check_range, images_and_labels
from firstlight.training.collected_predictions import CollectedPredictions
from firstlight.training.epochs import note_model
from firstlight.training.lightning_internals import attached_trainer, pop_compiler, position_within_epoch
from firstlight.training.loggers.loader_means import log_loss_and_accuracy, log_mean
from firstlight.training.loggers.running_means import RunningMeans, is_logged_step
from firstlight.training.lr_schedules import lr_schedules, num_epochs
from firstlight.training.optimizers import build_optimizer
from firstlight.training.show_sheet import draw_mistakes, show_sheet
from firstlight.training.start_weights import StartWeights
from firstlight.training.step_limit import log_early_end
from firstlight.training.steps.class_weights import class_weights_of
from firstlight.training.steps.graphed import GraphedStep, StepGraphs, capture_steps
from firstlight.training.steps.step import AutogradStep, TrainingStep

METRICS = ("val_loss", "val_acc", "test_loss", "test_acc", "test_acc_tta")
AVERAGING_EVERY_N_STEPS = 5  # an update costs a pass over all weights, and a shorter interval does not raise accuracy


class Classifier(pl.LightningModule):
    """Trains and tests a network that takes images in [0, 1] and returns logits.

    Logs `train_loss` and `train_acc` (their epoch means, and every `log_every_n_steps` the mean of the last steps),
    `val_loss`, `val_acc`, `test_loss` and `test_acc`, all of a single view, and `test_acc_tta` if the recipe names
    more views. A batch is firstlight's `Batch`, or any sequence that starts with images and labels.

    Args:
        network: Network to train; may be the result of `torch.compile`. Explanations need a `StagedNetwork`; training
            and testing do not.
        recipe: Loss, optimizer and schedule.
        steps: How a GPU runs the training steps; see `FitOptions`.

    Attributes:
        test_predictions: Logits, features, labels and ids of the last test.
        test_images: Images of the last test; None if the batches were not firstlight's.
        temperature: Temperature of the tested network; 1.0 if no validation images have calibrated it.
        start_weights: Weights from which the training started; None for random ones.
        run_path: Run folder that the last test was written to; None if there is none.
        unlogged_means: Means of loss and accuracy over the steps since the last logged step.
    """

    test_predictions: Predictions | None = None
    test_images: ImageSet | None = None
    temperature: float = 1.0
    start_weights: StartWeights | None = None
    run_path: Path | None = None

    def __init__(self, network: nn.Module, recipe: Recipe = Recipe(), steps: Steps = "recorded") -> None:
        super().__init__()
        self.network = cast(StagedNetwork, network)
        self.recipe = recipe
        self.steps = steps
        self.metrics = nn.ModuleDict({name: MeanMetric() for name in METRICS})
        self.unlogged_means = RunningMeans()
        self._step: TrainingStep = AutogradStep(self.network, recipe)
        self._collected = CollectedPredictions()
        self._resumed_position: dict[str, Any] = {}
        self._needs_range_check = True
        note_model(self)
        self.register_state_dict_post_hook(rename_saved_state)
        self.register_load_state_dict_pre_hook(rename_loaded_state)

    def setup(self, stage: str) -> None:
        """Discard the unlogged means of an earlier training; if the module is compiled, compile its network instead."""
        compiler = pop_compiler(self)
        if compiler is not None:
            compile_in_place(self.network, compiler)
        if stage == "fit":
            self.unlogged_means = RunningMeans()
            self._needs_range_check = True

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits, float [n k], of images in [0, 1], float [n 3 h w]."""
        return self.network(images)

    def training_step(self, batch: Batch | Sequence[Tensor], batch_idx: int) -> Tensor:
        """Return the loss of one batch; logs `train_loss` and `train_acc`."""
        images, labels = images_and_labels(batch, self.network)
        self._check_range(batch)
        images = self._resized(images)
        losses, loss = self._step(images, labels, self.progress)
        self.unlogged_means.add({"train_loss": losses.mean, "train_acc": losses.accuracy}, len(labels))
        if (batches := self._train_batches) is not None and batches.wants_losses:
            batches.add_losses(batch[2], losses.plain)
        if is_logged_step(attached_trainer(self), batch_idx):
            means, count = self.unlogged_means.take()
            self.log_dict(means, on_step=True, on_epoch=True, prog_bar=True, sync_dist=False, batch_size=count)
        return loss

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Compute the gradients, unless the step has already done so."""
        self._step.backward(lambda: super(Classifier, self).backward(loss, *args, **kwargs))

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: torch.optim.Optimizer) -> None:
        """Discard the gradients of the last step."""
        self._step.zero_grad(optimizer)

    def on_train_start(self) -> None:
        """Continue at the batch of the loaded checkpoint; capture the training steps as CUDA graphs if possible."""
        if self._resumed_position and self._train_batches is not None:
            self._train_batches.load_state_dict(self._train_batches.state_dict() | self._resumed_position)
            self._resumed_position = {}
        log_early_end(self.trainer)
        weights = class_weights_of(self.recipe, self._train_batches, self.device)
        self._step = step = AutogradStep(self.network, self.recipe, weights)
        if graphs := self._captured_steps(weights):
            self._step = GraphedStep(graphs, step)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Read the next batch of the epoch from a checkpoint that Lightning wrote."""
        if "firstlight" not in checkpoint:  # `Checkpointing` restores the position of its own checkpoints
            self._resumed_position = position_within_epoch(checkpoint)

    def on_train_end(self) -> None:
        """Free the captured steps and their memory; return to the weights of the best epoch if they are kept."""
        best = BestEpoch.of(self.trainer)
        if best is not None:  # here, because the callbacks have put averaged weights in place
            best.restore(self)
        self._step = AutogradStep(self.network, self.recipe)

    def _captured_steps(self, weights: Tensor | None) -> StepGraphs | None:
        is_on_one_gpu = self.trainer.strategy.root_device.type == "cuda" and self.trainer.world_size == 1
        return capture_steps(self.trainer, self.network, self.recipe, self.steps, weights) if is_on_one_gpu else None

    @property
    def learning_rate(self) -> float:
        """Peak learning rate of the recipe; Lightning's `Tuner.lr_find` reads and sets it."""
        return self.recipe.optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._change_recipe(optimizer=replace(self.recipe.optimizer, learning_rate=value))

    def _change_recipe(self, **changes: Any) -> None:
        self.recipe = replace(self.recipe, **changes)

    @property
    def progress(self) -> float:
        """Share of the training steps that are done, 0 to 1; 0 for a training without a known end."""
        trainer = attached_trainer(self)
        if trainer is None or trainer.fit_loop.max_epochs is None:  # None: the trainer has only tested
            return 0.0
        return progress_at(self.global_step, trainer.estimated_stepping_batches)

    @property
    def _train_batches(self) -> Batches | None:
        trainer = attached_trainer(self)
        batches = trainer.train_dataloader if trainer is not None else None
        return batches if isinstance(batches, Batches) else None

    def _check_range(self, batch: Batch | Sequence[Tensor]) -> None:
        """Warn if the first training batch is not in [0, 1]; firstlight's own batches always are."""
        if self._needs_range_check and not isinstance(batch, Batch):
            self._needs_range_check = False
            check_range(batch[0], self.network)

    def _resized(self, images: Tensor) -> Tensor:
        """Return training images at the size that the recipe sets for this step, float [n 3 h w]."""
        resizing = self.recipe.resizing
        if resizing.initial_scale == 1 or attached_trainer(self) is None:
            return images
        return resizing.apply(images, self.progress)

    def validation_step(self, batch: Batch | Sequence[Tensor], batch_idx: int, dataloader_idx: int = 0) -> None:
        """Log `val_loss` and `val_acc`, for each of several loaders under its own name."""
        images, labels = images_and_labels(batch, self.network)
        log_loss_and_accuracy(self, "val", self.network(images).float(), labels, dataloader_idx)

    def test_step(self, batch: Batch | Sequence[Tensor], batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Return the predicted classes, int64 [n]; logs `test_loss`, `test_acc` and, with views, `test_acc_tta`."""
        images, labels = images_and_labels(batch, self.network)
        logits, features = self._logits_and_features(images)
        log_loss_and_accuracy(self, "test", logits, labels, dataloader_idx)
        if self.recipe.views != "single":
            averaged = averaged_logits(
                self.network, images, self.recipe.views, single=logits, margin=self.recipe.views_margin
            )
            is_correct = (averaged.argmax(dim=1) == labels).float()
            log_mean(self, "test_acc_tta", is_correct, dataloader_idx, prog_bar=False)
        if dataloader_idx == 0:
            self._collected.add(logits, features, labels, batch[2] if len(batch) > 2 else None)
        return logits.argmax(dim=1)

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Return class probabilities, float [n k], of a batch of images, or of a sequence that starts with images."""
        return self.network(batch if isinstance(batch, Tensor) else batch[0]).float().softmax(dim=1)

    def _logits_and_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits, float [n k], and the features, float [n f].

        If the network is not a `StagedNetwork`, f is 0.
        """
        network = uncompiled(self.network)
        if not isinstance(network, StagedNetwork):
            logits = self.network(images).float()
            return logits, logits.new_zeros(len(logits), 0)
        features = network.features(images)
        return network.head(features).float(), features

    def on_test_epoch_start(self) -> None:
        """Discard the predictions of an earlier test."""
        self._collected.clear()
        batches = self.trainer.test_dataloaders
        self.run_path = None
        self.test_images = batches.set if isinstance(batches, Batches) else None

    def on_test_epoch_end(self) -> None:
        """Gather the predictions of all processes into `test_predictions`."""
        gathered = self._collected.gather(self.trainer.world_size)
        self.test_predictions = gathered if self.test_images is None else with_file_names(gathered, self.test_images)

    def show_misclassified_images(
        self,
        count: int = DEFAULT_COUNT,
        *,
        true: str | None = None,
        predicted: str | None = None,
        indices: int | Sequence[int] = (),
        method: str = DEFAULT_METHOD,
        stage: str | None = None,
    ) -> Figure:
        """Show misclassified test images, each beside the maps for its predicted and its true class.

        A notebook displays the figure. Elsewhere it is saved as a PNG file, in the run folder of the test if there is
        one, and its path is printed.

        Args:
            count: Largest number of images; the most confident mistakes come first.
            true: Show only images of this class.
            predicted: Show only images that were predicted as this class.
            indices: Show exactly this test image, or these in this order.
            method: Method of the maps; see `firstlight.attribution.explain`.
            stage: Stage of the maps; the last one by default.

        Returns:
            The figure.

        Raises:
            UsageError: The model has not been tested yet, or there is no such class, index, method or stage.
            WriteError: The file cannot be written.
        """
        which = MistakeFilter(count, true, predicted, (indices,) if isinstance(indices, int) else tuple(indices))
        figure = self.draw_misclassified_images(which, method, stage)
        is_default = (which, method, stage) == (MistakeFilter(), DEFAULT_METHOD, None)
        show_sheet(figure, self.run_path, attached_trainer(self), is_default=is_default)
        return figure

    def draw_misclassified_images(
        self, which: MistakeFilter = MistakeFilter(), method: str = DEFAULT_METHOD, stage: str | None = None
    ) -> Figure:
        """Draw misclassified test images without showing them; see `show_misclassified_images`.

        Args:
            which: Images to draw.
            method: Method of the maps.
            stage: Stage of the maps; the last one by default.

        Raises:
            UsageError: The model has not been tested yet, or there is no such class, index, method or stage.
        """
        predictions = self.test_predictions and self.test_predictions.calibrated(self.temperature)
        return draw_mistakes(self.network, self.test_images, predictions, which, method, stage)

    def configure_callbacks(self) -> list[pl.Callback]:
        """Return the callbacks that every training needs: finite losses, memory format, averaging, freezing."""
        present = {type(callback) for callback in getattr(self.trainer, "callbacks", [])}
        always: tuple[type[pl.Callback], ...] = (FiniteLoss, EpochMeans, ChannelsLast)
        callbacks = [kind() for kind in always if kind not in present]
        if isinstance(self.recipe.optimizer, MuonConfig) and Freezing not in present:
            callbacks.append(Freezing())
        if self.trainer.state.fn == "fit" and (self.recipe.stop_after or self.recipe.keep == "best"):
            callbacks.append(BestEpoch(self.recipe))  # before the averaging, as its docstring explains
        if decay := self.recipe.averaging:
            interval = AVERAGING_EVERY_N_STEPS
            callbacks.append(EMAWeightAveraging(decay=decay**interval, update_every_n_steps=interval))
        return callbacks

    def configure_optimizers(self) -> Any:
        """Return the recipe's optimizer and, unless the learning rate is constant, its schedule by step."""
        config = self.recipe.optimizer
        matmul_dtype = torch.bfloat16 if self.trainer.precision == "bf16-mixed" else None
        optimizer = build_optimizer(config, self.network, matmul_dtype, self.recipe.body_rate)
        num_steps, epochs = self.trainer.estimated_stepping_batches, num_epochs(self.trainer.max_epochs, self.recipe)
        schedules = lr_schedules(config, optimizer, num_steps, epochs)
        if schedules is None:
            return optimizer
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedules)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
