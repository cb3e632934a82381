"""Write a folder for a model hub: weights, `config.json` and model card."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from firstlight.export.bundle import MEASURED_NAME, Bundle
from firstlight.export.card import CARD_NAME
from firstlight.export.copy_bundle import copy_bundle
from firstlight.runs.model_config import NAME as CONFIG_NAME
from firstlight.runs.pretrained import WEIGHTS_NAME, Pretrained


def write_hub(bundle: Bundle, folder: Path, licence: str | None = None) -> Pretrained:
    """Write the part of a bundle that a model hub needs, without images; `Pretrained.from_pretrained` opens the folder.

    Args:
        bundle: Bundle to share.
        folder: Folder to write to; created if it does not exist.
        licence: Identifier of the licence that the user gives the weights; None keeps the bundle's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        copied = copy_bundle(bundle, Path(temporary), licence)
        for name in (WEIGHTS_NAME, CONFIG_NAME, CARD_NAME, MEASURED_NAME):
            shutil.copyfile(copied.path / name, folder / name)
    return Pretrained(folder)
