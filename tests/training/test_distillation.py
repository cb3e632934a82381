"""Self-distillation: targets from labels and from what the network said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from firstlight.data.images import ImageSet
from firstlight.errors import UsageError
from firstlight.networks import ResNet9, ResNet9Config
from firstlight.training.data_module import ImageData
from firstlight.training.distillation import SelfDistillation
from firstlight.training.module import Classifier
from firstlight.training.recipe import OptimizerConfig, Recipe
from firstlight.training.trainer import SILENT, Trainer


def softmax(logits: np.ndarray) -> np.ndarray:
    """Of each row."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


IMAGES = ImageSet(torch.zeros(4, 3, 1, 1, dtype=torch.uint8), torch.tensor([0, 1, 2, 0]), ("cat", "dog", "bird"))


def test_targets_by_hand() -> None:
    distillation = SelfDistillation(IMAGES, share=0.4, label_smoothing=0.3)
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    distillation.add(torch.tensor([3, 1]), logits[:2])
    distillation.add(torch.tensor([1]), logits[2:3])
    alone = {0: [0.8, 0.1, 0.1], 1: [0.1, 0.8, 0.1], 2: [0.1, 0.1, 0.8], 3: [0.8, 0.1, 0.1]}
    torch.testing.assert_close(
        distillation.targets(IMAGES.ids, IMAGES.labels), torch.tensor([alone[i] for i in range(4)])
    )
    distillation.begin_epoch(0)  # still the same
    torch.testing.assert_close(distillation.targets(IMAGES.ids[1:2], IMAGES.labels[1:2]), torch.tensor([alone[1]]))
    distillation.begin_epoch(1)
    said = logits.double().numpy()
    expected = np.array([alone[i] for i in range(4)])
    expected[3] = 0.6 * expected[3] + 0.4 * softmax(said[0])
    expected[1] = 0.6 * expected[1] + 0.4 * softmax((said[1] + said[2]) / 2)
    found = distillation.targets(IMAGES.ids, IMAGES.labels)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)
    np.testing.assert_allclose(found.sum(1).numpy(), 1, rtol=1e-6)


def test_an_image_that_an_epoch_leaves_out_keeps_its_answer() -> None:
    distillation = SelfDistillation(IMAGES, share=0.5)
    distillation.add(torch.tensor([0, 1]), torch.tensor([[0.0, 0.0, 0.0], [9.0, 0.0, 0.0]]))
    distillation.begin_epoch(1)
    before = distillation.targets(IMAGES.ids, IMAGES.labels)
    distillation.add(torch.tensor([1]), torch.tensor([[0.0, 0.0, 9.0]]))
    distillation.begin_epoch(2)
    after = distillation.targets(IMAGES.ids, IMAGES.labels)
    assert torch.equal(before[0], after[0])
    assert not torch.equal(before[1], after[1])


def train(recipe: Recipe) -> tuple[Classifier, list[tuple[float, int, list[int], np.ndarray]]]:
    """Train on the tiny set; also returns loss, epoch, labels and ids, and logits of every step."""
    torch.manual_seed(0)
    steps: list[Any] = []

    class Watched(Classifier):
        def _loss(self, batch: Any, logits: torch.Tensor) -> torch.Tensor:
            loss = super()._loss(batch, logits)
            rows = list(zip(batch.ids.tolist(), batch.labels.tolist(), strict=True))
            steps.append((float(loss.detach()), self.current_epoch, rows, logits.detach().double().numpy()))
            return loss

    module = Watched(ResNet9(4, ResNet9Config(width=4)), recipe)
    trainer = Trainer(max_epochs=3, precision="32-true", limit_val_batches=0, **SILENT)
    trainer.fit(module, datamodule=ImageData(recipe))
    return module, steps


def test_the_training_s_losses_are_those_of_a_slow_twin(tiny: str) -> None:
    """One image at a time, everything that was said kept in dictionaries."""
    recipe = Recipe(
        data=tiny,
        num_val=32,
        batch_size=16,
        optimizer=OptimizerConfig("sgd", 0.05),
        label_smoothing=0.1,
        self_distillation=0.4,
        hardest_share=0.5,
    )
    _, steps = train(recipe)
    answers: dict[int, np.ndarray] = {}
    new: dict[int, list[np.ndarray]] = {}
    present, num_softened = 0, 0
    for loss, epoch, rows, logits in steps:
        if epoch != present:
            answers |= {number: np.mean(said, axis=0) for number, said in new.items()}
            present, new = epoch, {}
        losses = []
        for (number, label), said in zip(rows, logits, strict=True):
            target = 0.9 * np.eye(4)[label] + 0.1 / 4
            if number in answers:
                target = 0.6 * target + 0.4 * softmax(answers[number])
                num_softened += 1
            losses.append(-(target * np.log(softmax(said))).sum())
            new.setdefault(number, []).append(said)
        assert loss == pytest.approx(np.mean(losses), rel=1e-4)
    assert num_softened == sum(len(rows) for _, epoch, rows, _ in steps if epoch)


def test_nothing_is_remembered_where_no_recipe_asks_for_it_or_by_the_next_training(tiny: str) -> None:
    recipe = Recipe(data=tiny, num_val=32, batch_size=16)
    module, _ = train(recipe)
    assert module._distillation is None
    checkpoint: dict[str, Any] = {}
    module.on_save_checkpoint(checkpoint)
    assert checkpoint == {}
    module.on_load_checkpoint({"self_distillation": {}})
    module.setup("fit")
    module.on_save_checkpoint(checkpoint)
    assert checkpoint == {}


def test_what_was_said_stays_in_a_checkpoint_that_follows_a_loaded_one_at_once() -> None:
    module = Classifier(ResNet9(4, ResNet9Config(width=2)), Recipe(self_distillation=0.5))
    kept = {"epoch": 1, "logits": {"means": torch.zeros(2, 4)}}
    module.on_load_checkpoint({"self_distillation": kept})
    checkpoint: dict[str, Any] = {}
    module.on_save_checkpoint(checkpoint)
    assert checkpoint["self_distillation"] is kept


def test_batches_that_do_not_say_which_image_is_which_are_refused() -> None:
    loader = DataLoader(TensorDataset(torch.rand(8, 3, 32, 32), torch.arange(8) % 4), batch_size=4)
    module = Classifier(ResNet9(4, ResNet9Config(width=2)), Recipe(self_distillation=0.5))
    trainer = Trainer(max_epochs=1, precision="32-true", limit_val_batches=0, **SILENT)
    with pytest.raises(UsageError, match="self_distillation needs to know which image is which"):
        trainer.fit(module, loader)
