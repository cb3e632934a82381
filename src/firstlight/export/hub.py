"""A folder for a model hub: weights, `config.json`, model card."""

from __future__ import annotations

import shutil
from pathlib import Path

from firstlight.export.bundle import Bundle
from firstlight.export.card import CARD_NAME
from firstlight.export.model_config import NAME as CONFIG_NAME
from firstlight.export.pretrained import WEIGHTS_NAME, Pretrained


def write_hub(bundle: Bundle, folder: Path) -> Pretrained:
    """Copy what a hub keeps of a bundle; `Pretrained.from_pretrained` opens it, there as here."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (WEIGHTS_NAME, CONFIG_NAME, CARD_NAME, "measured.json"):
        shutil.copyfile(bundle.path / name, folder / name)
    return Pretrained(folder)
