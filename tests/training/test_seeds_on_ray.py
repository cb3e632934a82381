"""`fit --seeds --engine ray`: the same runs and the same summary as one after the other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from firstlight.networks import ResNet9Config
from firstlight.recipes.config import Recipe
from reference.photo_folders import make_folder


@pytest.mark.slow
def test_seeds_on_a_cluster_give_the_summary_of_seeds_in_one_process(tmp_path: Path) -> None:
    make_folder(tmp_path / "photos", {"cat": 30, "dog": 30})
    recipe = Recipe(name="small", data="folder", image_size=16, network=ResNet9Config(width=2), max_epochs=2, seed=3)
    recipe.save(tmp_path / "recipe.yaml")
    found = {}
    for engine in ("local", "ray"):
        options = ["--data_dir", "photos", "--logs_dir", engine, "--seeds", "2", "--engine", engine]
        command = [sys.executable, "-m", "firstlight", "fit", "--config", "recipe.yaml", *options]
        threads = os.environ | {"OMP_NUM_THREADS": "1"}  # the bits of a training depend on the number of its threads
        done = subprocess.run(command, cwd=tmp_path, env=threads, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr
        found[engine] = json.loads((tmp_path / engine / "small" / "seeds_0" / "summary.json").read_text())
    assert found["ray"]["request"] == found["local"]["request"]
    assert set(found["ray"]["runs"]) == {"seed 3", "seed 4"}
    assert len(set(found["ray"]["runs"].values())) == 2
    for name in ("test_acc", "test_loss", "val_acc"):
        assert found["ray"]["metrics"][name] == found["local"]["metrics"][name], name
