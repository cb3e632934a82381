"""A bundle's numbers are measured with its own rounded weights."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor

from firstlight.data.images import ImageSet, split_stratified
from firstlight.data.source import SOURCES
from firstlight.errors import RunError
from firstlight.evaluation.tta_views import Views
from firstlight.export import bundle as bundle_module
from firstlight.export.build_bundle import build_bundle, sha256
from firstlight.export.bundle import Bundle, bundled, save_labelled_predictions
from firstlight.export.ood_images import ood_images
from firstlight.networks import ResNet9, ResNet9Config
from firstlight.runs.run import Run
from reference.tiny import tiny_split


@pytest.fixture(scope="module")
def plain(bundle: Bundle) -> ResNet9:
    """The network, built by hand from the weights file."""
    network = ResNet9(4, ResNet9Config(width=2))
    stored = load_file(bundle.path / "model.safetensors")
    network.load_state_dict({name: tensor.float() for name, tensor in stored.items()})
    return network.eval()


def logits_of(network: ResNet9, images: Tensor) -> Tensor:
    with torch.no_grad():
        return network(images / 255)


def test_the_accuracies_are_those_of_the_stored_weights(bundle: Bundle, plain: ResNet9) -> None:
    test = tiny_split("test")
    single, mirrored = logits_of(plain, test.images), logits_of(plain, test.images.flip(3))
    measured = bundle.measured["test"]
    assert measured["num_images"] == 83
    assert measured["single_view"] == pytest.approx((single.argmax(1) == test.labels).double().mean().item())
    averaged = (single + mirrored).argmax(1) == test.labels
    assert measured["views"] == "flip"
    assert measured["averaged"] == pytest.approx(averaged.double().mean().item())
    assert measured["num_wrong"] == int((single.argmax(1) != test.labels).sum())


def test_temperature_and_threshold_were_fitted_on_the_validation_images_only(bundle: Bundle, plain: ResNet9) -> None:
    val = split_stratified(tiny_split("train"), 32, 0)[1]
    logits = logits_of(plain, val.images).double()
    scaled = torch.nn.functional.cross_entropy
    best = scaled(logits / bundle.temperature, val.labels)
    assert all(scaled(logits / (bundle.temperature * off), val.labels) >= best for off in (0.95, 1.05))
    assert bundle.measured["calibration"]["num_validation_images"] == 32
    assert bundle.measured["calibration"]["other_recipe"] is None
    assert "another run" not in (bundle.path / "README.md").read_text()
    energies = -logits.exp().sum(1).log()
    # The conformal threshold for 5 % is the 32nd of 32 energies, 33 * 0.95 = 31.35 rounded up.
    assert bundle.config.novelty_threshold == pytest.approx(float(energies.max()), rel=0.01)


def test_the_mistakes_are_all_the_wrong_test_images_pixel_for_pixel(bundle: Bundle, plain: ResNet9) -> None:
    test = tiny_split("test")
    logits = logits_of(plain, test.images)
    wrong = (logits.argmax(1) != test.labels).nonzero().flatten()
    assert 0 < len(wrong) < len(test)
    mistakes = bundle.mistakes
    assert torch.equal(mistakes.images.ids, wrong)
    assert torch.equal(mistakes.images.images, test.images[wrong])
    assert torch.equal(mistakes.images.labels, test.labels[wrong])
    torch.testing.assert_close(mistakes.predictions.logits, logits[wrong], rtol=0, atol=1e-4)


def test_there_is_an_example_of_each_class(bundle: Bundle) -> None:
    test, examples = tiny_split("test"), bundle.examples
    assert examples.labels.tolist() == [0, 1, 2, 3]
    assert torch.equal(examples.images, test.images[:4]), "the tiny classes take turns: the first of each"


def test_the_confusion_matrix_counts_every_test_image_once(bundle: Bundle) -> None:
    matrix = torch.tensor(bundle.measured["confusion"])
    assert matrix.sum(1).tolist() == tiny_split("test").labels.bincount().tolist()
    assert int(matrix.diagonal().sum()) == 83 - bundle.measured["test"]["num_wrong"]


def test_the_detection_of_other_images_is_measured_with_the_stored_weights(bundle: Bundle, plain: ResNet9) -> None:
    novelty, threshold = bundle.measured["novelty"], bundle.config.novelty_threshold
    kinds = ood_images("tiny", (16, 16))
    assert set(novelty["detected"]) == set(kinds) == {"noise", "blobs", "gratings", "drawn shapes"}
    for kind, images in kinds.items():
        assert images.shape == (500, 3, 16, 16)
        energies = -logits_of(plain, images).exp().sum(1).log()
        assert novelty["detected"][kind] == pytest.approx((energies > threshold).double().mean().item(), abs=0.003)


def test_the_card_shows_what_was_measured_and_its_front_matter_is_yaml(bundle: Bundle) -> None:
    text = (bundle.path / "README.md").read_text()
    _, front, card = text.split("---\n", 2)
    matter, measured = yaml.safe_load(front), bundle.measured
    result = matter["model-index"][0]["results"][0]
    assert [each["value"] for each in result["metrics"]] == [
        pytest.approx(measured["test"][name], abs=1e-4) for name in ("single_view", "averaged")
    ]
    assert "license" not in matter, "nobody has given a licence"
    assert matter["pipeline_tag"] == "image-classification"
    rows = dict(re.findall(r"^\| ([^|]+) \| ([\d.]+%) \|", card, flags=re.MULTILINE))
    assert rows["one"] == f"{measured['test']['single_view']:.2%}"
    assert rows["two: the image and its mirror image, logits averaged"] == f"{measured['test']['averaged']:.2%}"
    assert rows["noise, 500"] == f"{measured['novelty']['detected']['noise']:.1%}"
    assert f"{measured['calibration']['temperature']:.3f}" in card
    assert "{" not in card


def test_the_digest_is_of_the_weights(bundle: Bundle, run: Run) -> None:
    assert bundle.measured["weights_sha256"] == sha256(bundle.path / "model.safetensors")
    assert bundle.measured["run_weights_sha256"] == sha256(run.weights_path)


@pytest.fixture
def without_val(run: Run, tmp_path: Path, tiny: str) -> Run:
    """A copy of the run, recorded as trained on all images."""
    copy = Run(shutil.copytree(run.path, tmp_path / "all"))
    replace(copy.recipe, num_val=0).save(copy.path / "recipe.yaml")
    return Run(copy.path)


def test_a_run_without_validation_images_is_calibrated_by_another_or_not_at_all(
    without_val: Run, run: Run, bundle: Bundle, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match="--calibrate_on"):
        build_bundle(without_val, tmp_path / "none")
    made = build_bundle(without_val, tmp_path / "lent", calibrate_on=run)
    assert made.measured["calibration"]["other_recipe"] == run.recipe.to_dict()
    said = f"another run ({run.recipe.max_epochs} epochs by recipe `{run.recipe.name}`)"
    assert said in (made.path / "README.md").read_text()
    assert made.temperature == pytest.approx(bundle.temperature, rel=0.02), "the same network, not rounded to half"
    other = Run(shutil.copytree(run.path, tmp_path / "other"))
    replace(other.recipe, data="drawn").save(other.path / "recipe.yaml")
    with pytest.raises(RunError, match="has other classes"):
        build_bundle(without_val, tmp_path / "wrong", calibrate_on=Run(other.path))


@pytest.mark.filterwarnings("ignore:.*not the ones that.*")
def test_a_network_that_is_always_right_has_an_empty_sheet(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = tiny_split("test")
    said = logits_of(run.network, test.images).argmax(1)
    agreeing = ImageSet(test.images, said, test.class_names)
    monkeypatch.setitem(SOURCES, "tiny", lambda _, split: agreeing if split == "test" else tiny_split(split))
    made = build_bundle(run, tmp_path / "right")
    assert made.measured["test"]["single_view"] > 0.95
    assert len(made.mistakes.images) == made.measured["test"]["num_wrong"]


@pytest.mark.parametrize(
    ("name", "ask"),
    [
        ("measured.json", lambda bundle: bundle.measured),
        ("mistakes.png", lambda bundle: bundle.mistakes),
        ("mistakes.safetensors", lambda bundle: bundle.mistakes),
        ("examples.safetensors", lambda bundle: bundle.examples),
    ],
)
def test_a_damaged_file_is_named_in_one_line(bundle: Bundle, tmp_path: Path, name: str, ask: object) -> None:
    copy = shutil.copytree(bundle.path, tmp_path / "copy")
    (copy / name).write_bytes(b"\x00damaged")
    with pytest.raises(RunError, match=f"{name}: cannot be read"):
        ask(Bundle(copy))  # type: ignore[operator]


def test_a_folder_without_measurements_is_no_bundle(bundle: Bundle, tmp_path: Path) -> None:
    copy = shutil.copytree(bundle.path, tmp_path / "copy")
    (copy / "measured.json").unlink()
    with pytest.raises(RunError, match="is not a bundle"):
        Bundle(copy)


def test_without_a_bundled_model_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bundle: Bundle
) -> None:
    monkeypatch.setattr(bundle_module, "BUNDLED_PATH", tmp_path)
    with pytest.raises(RunError, match="firstlight export RUN --to bundle"):
        bundled()
    monkeypatch.setattr(bundle_module, "BUNDLED_PATH", bundle.path)
    assert bundled().measured == json.loads((bundle.path / "measured.json").read_text())


def test_every_kind_of_views_has_a_description() -> None:
    assert set(bundle_module.VIEWS) == set(get_args(Views)) - {"single"}


def test_mistakes_keep_the_names_of_their_files(bundle: Bundle, tmp_path: Path) -> None:
    mistakes = bundle.mistakes
    assert mistakes.images.file_names is None
    names = tuple(f"cat/{index} é.png" for index in mistakes.images.ids.tolist())
    shutil.copytree(bundle.path, tmp_path / "named")
    named = replace(mistakes, images=replace(mistakes.images, file_names=names))
    save_labelled_predictions(tmp_path / "named", "mistakes", named)
    found = Bundle(tmp_path / "named").mistakes
    assert found.images.file_names == names
    assert found.images.images.equal(mistakes.images.images)
