"""The model that the package brings: what its card says is what its weights do."""

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


def test_it_is_small_and_its_weights_are_those_that_were_measured(own: Bundle) -> None:
    assert sum(path.stat().st_size for path in BUNDLED_PATH.iterdir()) < MAX_BYTES
    assert sha256(BUNDLED_PATH / "model.safetensors") == own.measured["weights_sha256"]


def test_its_card_shows_its_measurements(own: Bundle) -> None:
    card, test = (own.path / "README.md").read_text(), own.measured["test"]
    assert f"| one | {test['single_view']:.2%} |" in card
    assert f"| {test['averaged']:.2%} |" in card
    assert len(own.examples.images) == 10
    assert len(own.mistakes.images) == test["num_wrong"] == round((1 - test["single_view"]) * test["num_images"])


@pytest.mark.slow
def test_its_accuracies_on_the_real_test_split_are_those_of_its_card(own: Bundle, cifar10_dir: Path) -> None:
    test, measured = read_cifar10(cifar10_dir, "test"), own.measured["test"]
    num_right = {"single": 0, measured["views"]: 0}
    with torch.inference_mode():
        for start in range(0, len(test), 100):
            images, labels = to_unit(test.images[start : start + 100]), test.labels[start : start + 100]
            for views in num_right:
                found = averaged_logits(own.network, images, views).argmax(1)
                num_right[views] += int((found == labels).sum())
    # another processor rounds otherwise: an image or two on the edge between two classes may change sides
    assert num_right["single"] / 10_000 == pytest.approx(measured["single_view"], abs=3e-4)
    assert num_right[measured["views"]] / 10_000 == pytest.approx(measured["averaged"], abs=3e-4)


def test_its_card_is_the_one_that_is_written_today(own: Bundle) -> None:
    """A change of the card's words or of `measured.json` has reached the model that comes with the package."""
    assert card_text(own) in (own.path / "README.md").read_text()
    assert own.measured["license"] == "mit"
