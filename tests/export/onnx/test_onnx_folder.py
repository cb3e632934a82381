"""The folder of an exported model: its README holds, and its example runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from firstlight.export.bundle import Bundle
from firstlight.export.onnx import verification
from firstlight.export.onnx.onnx_folder import write_onnx


@pytest.fixture(scope="module")
def folder(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("onnx")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verification, "NUM_IMAGES", 24)
        write_onnx(bundle, folder)
    return folder


def test_the_example_of_the_readme_prints_what_predict_says(bundle: Bundle, folder: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    assert len([line for line in code.splitlines() if line]) == 10
    Image.effect_mandelbrot((90, 60), (-2, -1, 1, 1), 50).convert("RGB").save(folder / "photo.jpg", quality=95)
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=60, check=True
    )
    with Image.open(folder / "photo.jpg") as photo:
        expected = bundle.predict(photo.convert("RGB")).top(3)
    assert ran.stdout.splitlines() == [f"{name}: {probability:.1%}" for name, probability in expected]


def test_the_readme_names_inputs_outputs_and_the_difference(bundle: Bundle, folder: Path) -> None:
    text = (folder / "README.md").read_text()
    for stage in bundle.network.stages:
        assert f"`{stage}`" in text
    assert "0 `grad_cam`, 1 `grad_cam_pp`" in text
    assert "The file was compared with PyTorch on " in text
    assert "logits differ by at most" in text
    assert "up to 65,793 pixels a side" in text
    assert "| `is_novel` | bool [n] |" in text
    assert "{" not in text.replace("{k}", "").split("```")[2]
    assert sorted(path.name for path in folder.iterdir() if path.suffix in (".md", ".onnx")) == [
        "README.md",
        "model.onnx",
    ]
