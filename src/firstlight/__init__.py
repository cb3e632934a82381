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
    "Pretrained": "firstlight.export.pretrained",
    "fit": "firstlight.training.fit",
    "fit_seeds": "firstlight.training.repeated_fits",
    "cross_validate": "firstlight.training.cross_validation",
    "resume": "firstlight.training.resume",
    "ResNet9": "firstlight.networks",
    "ImageSet": "firstlight.data.images",
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
    "Recipe",
    "Run",
    "ResNet9",
    "ImageSet",
    "FirstlightError",
]

limit_spinning()

if TYPE_CHECKING:
    from firstlight.data.images import ImageSet
    from firstlight.errors import FirstlightError
    from firstlight.export.pretrained import Pretrained
    from firstlight.networks import ResNet9
    from firstlight.recipes.config import Recipe
    from firstlight.runs.run import Run, load
    from firstlight.training.cross_validation import cross_validate
    from firstlight.training.exercise import CustomResNet, custom_ResNet
    from firstlight.training.fit import fit
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
