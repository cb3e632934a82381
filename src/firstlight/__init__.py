"""Train a small-image classifier in seconds to minutes, and see what it gets wrong and why.

    import firstlight
    model = firstlight.CustomResNet(data_dir="data")
    trainer = firstlight.Trainer(max_epochs=24)
    trainer.fit(model)
    trainer.test(model)
    model.show_misclassified_images()

Names are imported when they are first used, so that `import firstlight` itself does not load PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from firstlight.openmp import limit_spinning

__version__ = "0.1.0"

_MODULES = {
    "CustomResNet": "firstlight.training.exercise",
    "custom_ResNet": "firstlight.training.exercise",
    "Trainer": "firstlight.training.trainer",
    "Recipe": "firstlight.recipes.config",
    "Run": "firstlight.runs.run",
    "load": "firstlight.runs.run",
    "Pretrained": "firstlight.runs.pretrained",
    "fit": "firstlight.training.fit",
    "fit_seeds": "firstlight.training.repeated_fits",
    "cross_validate": "firstlight.training.cross_validation",
    "resume": "firstlight.training.resume",
    "get_recipe": "firstlight.recipes",
    "OptimizerConfig": "firstlight.recipes.config",
    "MuonConfig": "firstlight.recipes.config",
    "Augmentation": "firstlight.data.augmentation_config",
    "ResNet9Config": "firstlight.networks",
    "SpeedNetConfig": "firstlight.networks",
    "ResNet9": "firstlight.networks",
    "summarize": "firstlight.summary",
    "draw_network": "firstlight.diagram",
    "open_source": "firstlight.data.source",
    "ImageSet": "firstlight.data.images",
    "random_samples": "firstlight.reports.data_sheets",
    "class_rows": "firstlight.reports.data_sheets",
    "channel_sheet": "firstlight.reports.data_sheets",
    "augmentation_views": "firstlight.reports.data_sheets",
    "explain": "firstlight.attribution",
    "evaluate": "firstlight.attribution",
    "evaluation_table": "firstlight.reports.trust",
    "misclassified_images": "firstlight.reports.explained_mistakes",
    "MistakeFilter": "firstlight.evaluation.mistakes",
    "draw_predictions": "firstlight.reports.explained_predictions",
    "Classifier": "firstlight.training.module",
    "ImageData": "firstlight.training.data_module",
    "FirstlightError": "firstlight.errors",
}

__all__ = [  # noqa: RUF022  # the exercise's names first
    "CustomResNet",
    "custom_ResNet",
    "Trainer",
    "load",
    "Pretrained",
    "fit",
    "fit_seeds",
    "cross_validate",
    "resume",
    "Run",
    "Recipe",
    "get_recipe",
    "OptimizerConfig",
    "MuonConfig",
    "Augmentation",
    "ResNet9Config",
    "SpeedNetConfig",
    "ResNet9",
    "summarize",
    "draw_network",
    "open_source",
    "ImageSet",
    "random_samples",
    "class_rows",
    "channel_sheet",
    "augmentation_views",
    "explain",
    "evaluate",
    "evaluation_table",
    "misclassified_images",
    "MistakeFilter",
    "draw_predictions",
    "Classifier",
    "ImageData",
    "FirstlightError",
]

limit_spinning()

if TYPE_CHECKING:
    from firstlight.attribution import evaluate, explain
    from firstlight.data.augmentation_config import Augmentation
    from firstlight.data.images import ImageSet
    from firstlight.data.source import open_source
    from firstlight.diagram import draw_network
    from firstlight.errors import FirstlightError
    from firstlight.evaluation.mistakes import MistakeFilter
    from firstlight.networks import ResNet9, ResNet9Config, SpeedNetConfig
    from firstlight.recipes import get_recipe
    from firstlight.recipes.config import MuonConfig, OptimizerConfig, Recipe
    from firstlight.reports.data_sheets import augmentation_views, channel_sheet, class_rows, random_samples
    from firstlight.reports.explained_mistakes import misclassified_images
    from firstlight.reports.explained_predictions import draw_predictions
    from firstlight.reports.trust import evaluation_table
    from firstlight.runs.pretrained import Pretrained
    from firstlight.runs.run import Run, load
    from firstlight.summary import summarize
    from firstlight.training.cross_validation import cross_validate
    from firstlight.training.data_module import ImageData
    from firstlight.training.exercise import CustomResNet, custom_ResNet
    from firstlight.training.fit import fit
    from firstlight.training.module import Classifier
    from firstlight.training.repeated_fits import fit_seeds
    from firstlight.training.resume import resume
    from firstlight.training.trainer import Trainer


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'firstlight' has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_MODULES))
