"""Every argument of Lightning's Trainer reaches it through `firstlight.fit`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
from pytorch_lightning.loggers import CSVLogger

import firstlight
from firstlight.errors import UsageError
from firstlight.networks import ResNet9Config
from firstlight.recipes.config import Recipe
from firstlight.training.trainer import lightning_options


class ReceivedError(Exception):
    """Lightning's Trainer has accepted its arguments."""


def one_value_of_each(folder: Path) -> dict[str, Any]:
    """A value of every argument, all of which one short training accepts together."""
    devices = {"accelerator": "cpu", "devices": 1, "num_nodes": 1, "strategy": "auto", "precision": "32-true"}
    length = {"max_epochs": 2, "min_epochs": 1, "max_steps": 3, "min_steps": 1, "max_time": "00:00:05:00"}
    limits = {f"limit_{name}_batches": 2 for name in ("train", "val", "test", "predict")}
    validation = {"val_check_interval": 1, "check_val_every_n_epoch": 1, "num_sanity_val_steps": 1}
    step = {"accumulate_grad_batches": 2, "gradient_clip_val": 0.5, "gradient_clip_algorithm": "value"}
    numerics = {"deterministic": False, "benchmark": False, "inference_mode": False, "detect_anomaly": True}
    batches = {"use_distributed_sampler": False, "sync_batchnorm": False, "reload_dataloaders_every_n_epochs": 1}
    output = {
        "logger": [CSVLogger(folder / "csv")],
        "callbacks": [pl.Callback()],
        "log_every_n_steps": 1,
        "enable_checkpointing": True,
        "enable_progress_bar": False,
        "enable_model_summary": True,
        "enable_autolog_hparams": False,
        "profiler": "simple",
        "default_root_dir": folder,
        "model_registry": None,
    }
    modes = {"fast_dev_run": False, "overfit_batches": 0.0, "barebones": False, "plugins": []}
    return devices | length | limits | validation | step | numerics | batches | output | modes


def test_every_argument_reaches_lightning(tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = one_value_of_each(tmp_path)
    assert given.keys() == set(lightning_options()), "the test names every argument of Lightning's Trainer"
    received: dict[str, Any] = {}
    constructor = pl.Trainer.__init__

    def record(self: pl.Trainer, **options: Any) -> None:
        received.update(options)
        constructor(self, **options)
        raise ReceivedError

    monkeypatch.setattr(pl.Trainer, "__init__", record)
    recipe = Recipe(name="t", data=tiny, num_val=32, network=ResNet9Config(width=2), max_epochs=1, batch_size=32)
    with pytest.raises(ReceivedError):
        firstlight.fit(recipe, logs_dir=tmp_path / "logs", **given)
    (own_callback,) = given.pop("callbacks")
    assert own_callback in received.pop("callbacks")
    assert received == given


def test_barebones_is_refused_with_the_way_out() -> None:
    with pytest.raises(UsageError, match=r"measure with pytorch_lightning\.Trainer\(barebones=True\)"):
        firstlight.Trainer(barebones=True)
