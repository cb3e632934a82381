"""The LightningModule: a network, a loss, the logged numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.aggregation import MeanMetric

from firstlight.attribution import DEFAULT_METHOD
from firstlight.augment.progressive import progress_at
from firstlight.data.batches import Batch, Batches
from firstlight.data.images import ImageSet
from firstlight.errors import UsageError
from firstlight.evaluation.predictions import Predictions, ordered_by_id
from firstlight.evaluation.views import averaged_logits
from firstlight.networks import StagedNetwork
from firstlight.plots.figure import Figure
from firstlight.recipes.config import MuonConfig, Recipe
from firstlight.reports.explained_mistakes import DEFAULT_COUNT, MistakeFilter, misclassified_images
from firstlight.runs.options import Steps
from firstlight.training.callbacks.freezing import Freezing
from firstlight.training.loggers.running_means import RunningMeans
from firstlight.training.optimization import build_optimizer, courses
from firstlight.training.steps.gradients import Losses
from firstlight.training.steps.graphed import RecordedSteps, recorded_steps
from firstlight.training.steps.importance import largest_gradients

MEANS = ("val_loss", "val_acc", "test_loss", "test_acc", "test_acc_tta")
AVERAGING_EVERY_N_STEPS = 5  # as often as matters; each time costs a pass over all weights


class Classifier(pl.LightningModule):
    """Trains and tests a network that takes images in [0, 1] and returns logits.

    Logs `train_loss` and `train_acc` (on epoch, and the mean of the last steps every `log_every_n_steps`), `val_loss`,
    `val_acc`, `test_loss` and `test_acc`, all of a single view, and `test_acc_tta` if the recipe names more views. The
    batches are firstlight's `Batch`, or any tuple that starts with images and labels.

    Args:
        network: what is trained.
        recipe: loss, optimizer and schedule.

    Attributes:
        test_predictions: logits, features, labels and ids of the last `trainer.test`.
        test_images: what it tested; None if the batches were not firstlight's.
        unlogged: loss and accuracy of the training steps since the last that was logged.
        steps: how they are made on a GPU: kernel by kernel ("plain"), or each replayed at once ("recorded"), or with
            kernels that are made for them first ("compiled"), which takes a minute.
    """

    test_predictions: Predictions | None = None
    test_images: ImageSet | None = None

    def __init__(self, network: StagedNetwork, recipe: Recipe = Recipe()) -> None:
        super().__init__()
        self.network: StagedNetwork = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.recipe = recipe
        self.network.by_pullbacks, self.network.skips_zero_gradients = True, recipe.gradient_share < 1
        self.means = nn.ModuleDict({name: MeanMetric() for name in MEANS})
        self.unlogged = RunningMeans()
        self.steps: Steps = "recorded"
        self._recorded: RecordedSteps | None = None
        self._has_gradients = False
        self._test_rows: list[tuple[Tensor, ...]] = []

    def setup(self, stage: str) -> None:
        """Forget the steps of an earlier training that were not logged."""
        if stage == "fit":
            self.unlogged = RunningMeans()

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits, float [n k], of images in [0, 1], float [n 3 h w]."""
        return self.network(images)

    def training_step(self, batch: Batch | Sequence[Tensor], batch_idx: int) -> Tensor:
        """Return the loss of one batch; logs `train_loss` and `train_acc`."""
        images, labels = self._grown(batch[0]), batch[1]
        losses = self._recorded(images, labels, self.progress) if self._recorded is not None else None
        self._has_gradients = losses is not None
        if losses is None:
            logits = self.network(images).float()
            losses = Losses.of(logits, labels, self.recipe.label_smoothing)
        self.unlogged.add({"train_loss": losses.mean, "train_acc": losses.accuracy}, len(labels))
        if self._batches is not None and self._batches.wants_losses:
            self._batches.add_losses(batch[2], losses.plain)
        if self._logs_this_step(batch_idx):
            means, count = self.unlogged.take()
            self.log_dict(means, on_step=True, on_epoch=True, prog_bar=True, sync_dist=False, batch_size=count)
        share = self.recipe.gradient_share
        if self._has_gradients or share == 1:
            return losses.mean
        chosen = largest_gradients(logits.detach(), labels, share, self.recipe.label_smoothing)
        return (losses.smoothed * chosen).mean()

    def on_train_start(self) -> None:
        """Record the steps to come, where that can be done."""
        is_on_one_gpu = self.trainer.strategy.root_device.type == "cuda" and self.trainer.world_size == 1
        self._recorded = None
        if is_on_one_gpu and self.steps != "plain":
            self._recorded = self._record()

    def _record(self, **options: Any) -> RecordedSteps | None:
        is_compiled = self.steps == "compiled"
        try:
            return recorded_steps(self.trainer, self.network, self.recipe, is_compiled=is_compiled, **options)
        except torch.OutOfMemoryError as error:
            raise UsageError(
                "the GPU has too little memory to record the training's steps: make batch_size smaller, or steps plain"
            ) from error
        except RuntimeError as error:
            if not is_compiled:
                raise
            reason, *_ = str(error).strip().splitlines() or [type(error).__name__]
            raise UsageError(f"the steps cannot be compiled here ({reason}): leave them recorded") from error

    def on_train_end(self) -> None:
        """Forget the recorded steps, and the memory that they hold."""
        self._recorded = None

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Find the gradients, unless the step has found them already."""
        if not self._has_gradients:
            super().backward(loss, *args, **kwargs)

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: torch.optim.Optimizer) -> None:
        """Forget the gradients of the step before; recorded steps fill theirs anew, and want them to stay in place."""
        if not self._has_gradients:
            optimizer.zero_grad(set_to_none=self._recorded is None)

    @property
    def _batches(self) -> Batches | None:
        batches = self.trainer.train_dataloader if self._trainer is not None else None
        return batches if isinstance(batches, Batches) else None

    @property
    def progress(self) -> float:
        """Share of the training's steps that are behind, 0 to 1; 0 where the training has no end."""
        return progress_at(self.global_step, self.trainer.estimated_stepping_batches)

    def _grown(self, images: Tensor) -> Tensor:
        """Return training images at the size that the recipe has for this step, float [n 3 h w]."""
        how = self.recipe.resizing
        if how.initial_scale == 1 or self._trainer is None:
            return images
        return how.apply(images, self.progress)

    def _logs_this_step(self, batch_idx: int) -> bool:
        """Whether this is a step that the logger asks for, or the first or the last of an epoch or a training.

        Logging costs Lightning as much as everything else that it does in a step.
        """
        if self._trainer is None or self.trainer.is_last_batch or batch_idx == 0:
            return True
        step = self.global_step + 1
        every_n_steps: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]  # its connector sets it
        return step == self.trainer.max_steps or (every_n_steps > 0 and step % every_n_steps == 0)

    def validation_step(self, batch: Batch | Sequence[Tensor], batch_idx: int) -> None:
        """Log `val_loss` and `val_acc`."""
        self._measure("val", self.network(batch[0]).float(), batch[1])

    def test_step(self, batch: Batch | Sequence[Tensor], batch_idx: int) -> Tensor:
        """Return the predicted classes, int64 [n]; logs `test_loss`, `test_acc` and perhaps `test_acc_tta`."""
        images, labels = batch[0], batch[1]
        features = self.network.features(images)
        logits = self.network.head(features).float()
        self._measure("test", logits, labels)
        if self.recipe.views != "single":
            averaged = averaged_logits(
                self.network, images, self.recipe.views, single=logits, margin=self.recipe.views_margin
            )
            accuracy = cast(MeanMetric, self.means["test_acc_tta"])
            accuracy.update((averaged.argmax(dim=1) == labels).float())
            self.log("test_acc_tta", accuracy, on_epoch=True, batch_size=len(labels))
        num_before = sum(len(row[2]) for row in self._test_rows)
        ids = batch[2] if len(batch) > 2 else num_before + torch.arange(len(labels))
        self._test_rows.append((logits, features, labels, ids))
        return logits.argmax(dim=1)

    def _measure(self, split: str, logits: Tensor, labels: Tensor) -> None:
        loss, accuracy = (cast(MeanMetric, self.means[f"{split}_{name}"]) for name in ("loss", "acc"))
        loss.update(F.cross_entropy(logits, labels, reduction="none"))
        accuracy.update((logits.argmax(dim=1) == labels).float())
        metrics = {f"{split}_loss": loss, f"{split}_acc": accuracy}
        self.log_dict(metrics, on_epoch=True, prog_bar=True, batch_size=len(labels))

    def on_test_epoch_start(self) -> None:
        """Forget an earlier test; remember what is tested now."""
        self._test_rows.clear()
        batches = self.trainer.test_dataloaders
        self.test_images = batches.set if isinstance(batches, Batches) else None

    def on_test_epoch_end(self) -> None:
        """Gather every rank's rows into `test_predictions`."""
        columns = [torch.cat(column).cpu() for column in zip(*self._test_rows, strict=True)]
        self._test_rows.clear()
        if self.trainer.world_size > 1:
            shares: list[Any] = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(shares, columns)
            columns = [torch.cat(column) for column in zip(*shares, strict=True)]
        self.test_predictions = ordered_by_id(*columns)

    def show_misclassified_images(
        self,
        count: int = DEFAULT_COUNT,
        *,
        true: str | None = None,
        predicted: str | None = None,
        indices: Sequence[int] = (),
        method: str = DEFAULT_METHOD,
        stage: str | None = None,
    ) -> Figure:
        """Draw test images that the model gets wrong: image, evidence for the predicted class, for the true class.

        Args:
            count: how many, at most; the most confident first.
            true: only images of this class.
            predicted: only images taken for this class.
            indices: exactly these test images, in this order.
            method: of the maps; see `firstlight.attribution.explain`.
            stage: of the maps; by default the last.

        Returns:
            A figure: a notebook shows it, `.savefig(path)` keeps it.

        Raises:
            UsageError: the model has not been tested yet, or a class, an index, a method or a stage does not exist.
        """
        if self.test_predictions is None or self.test_images is None:
            raise UsageError("nothing has been tested yet: call trainer.test(model) first")
        tested = torch.isin(self.test_images.ids, self.test_predictions.ids)  # perhaps only some batches were
        images = self.test_images[tested.nonzero().flatten()]
        which = MistakeFilter(count, true, predicted, tuple(indices))
        return misclassified_images(self.network, images, self.test_predictions, which, method, stage)

    def configure_callbacks(self) -> list[pl.Callback]:
        """Return what keeps the average of the weights and what freezes them, if the recipe asks for it."""
        callbacks: list[pl.Callback] = []
        if isinstance(self.recipe.optimizer, MuonConfig):
            callbacks.append(Freezing())
        if decay := self.recipe.averaging:
            every_n_steps = AVERAGING_EVERY_N_STEPS
            callbacks.append(EMAWeightAveraging(decay=decay**every_n_steps, update_every_n_steps=every_n_steps))
        return callbacks

    def configure_optimizers(self) -> Any:
        """Return the recipe's optimizer and, where the rate changes, its schedule by the step."""
        how = self.recipe.optimizer
        matmul_dtype = torch.bfloat16 if self.trainer.precision == "bf16-mixed" else None
        optimizer = build_optimizer(how, self.network, matmul_dtype)
        shares = courses(how, optimizer, self.trainer.estimated_stepping_batches, self.recipe.max_epochs)
        if shares is None:
            return optimizer
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, shares)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
