"""The bundled model: its card agrees with its weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from firstlight.data.batches import to_unit
from firstlight.data.cifar import read_cifar10
from firstlight.errors import RunError
from firstlight.evaluation.tta_views import averaged_logits
from firstlight.export.build_bundle import sha256
from firstlight.export.bundle import BUNDLED_PATH, Bundle, bundled
from firstlight.export.card import card_text

MAX_BYTES = 20_000_000


@pytest.fixture(scope="module")
def own() -> Bundle:
    try:
        return bundled()
    except RunError as error:
        pytest.skip(str(error))


def test_the_bundled_model_is_small_and_has_the_measured_weights(own: Bundle) -> None:
    assert sum(path.stat().st_size for path in BUNDLED_PATH.iterdir()) < MAX_BYTES
    assert sha256(BUNDLED_PATH / "model.safetensors") == own.measured["weights_sha256"]


def test_the_bundled_card_shows_the_measurements(own: Bundle) -> None:
    card, test = (own.path / "README.md").read_text(), own.measured["test"]
    assert f"| one | {test['single_view']:.2%} |" in card
    assert f"| {test['averaged']:.2%} |" in card
    assert len(own.examples.images) == 10
    assert len(own.mistakes.images) == test["num_wrong"] == round((1 - test["single_view"]) * test["num_images"])


@pytest.mark.slow
def test_the_bundled_accuracies_are_those_on_the_real_test_split(own: Bundle, cifar10_dir: Path) -> None:
    test, measured = read_cifar10(cifar10_dir, "test"), own.measured["test"]
    num_right = {"single": 0, measured["views"]: 0}
    with torch.inference_mode():
        for start in range(0, len(test), 100):
            images, labels = to_unit(test.images[start : start + 100]), test.labels[start : start + 100]
            for views in num_right:
                found = averaged_logits(own.network, images, views).argmax(1)
                num_right[views] += int((found == labels).sum())
    # another processor rounds differently, which may change the prediction of an image or two
    assert num_right["single"] / 10_000 == pytest.approx(measured["single_view"], abs=3e-4)
    assert num_right[measured["views"]] / 10_000 == pytest.approx(measured["averaged"], abs=3e-4)


def test_the_bundled_card_is_up_to_date(own: Bundle) -> None:
    """Changes of the card's text and of `measured.json` must be applied to the bundled model."""
    assert card_text(own) in (own.path / "README.md").read_text()
    assert own.measured["license"] == "mit"
