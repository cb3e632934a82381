"""A run folder: its predictions, and the errors of damaged files."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from firstlight.errors import RunError
from firstlight.runs.run import Run, latest_run, load
from reference.made_run import make_run
from reference.tiny import CLASS_NAMES, tiny_split


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture
def folder(made: Run, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(made.path, tmp_path / "copy"))


def with_metadata(folder: Path, **changes: str | None) -> Run:
    """Rewrite the weights with other metadata; None removes a name."""
    path = folder / "model.safetensors"
    with safe_open(path, framework="pt") as weights:
        metadata = weights.metadata() | changes
        state = {name: weights.get_tensor(name) for name in weights.keys()}  # noqa: SIM118  # it is no mapping
    save_file(state, path, {name: value for name, value in metadata.items() if value is not None})
    return Run(folder)


def test_the_metadata_of_the_weights_is_enough_to_use_them(made: Run) -> None:
    assert made.class_names == CLASS_NAMES
    assert made.size_px == (16, 16)
    assert made.temperature == 1.0
    assert json.loads(made.metadata["recipe"]) == made.recipe.to_dict()


def test_class_names_that_would_command_a_terminal_are_refused(folder: Path) -> None:
    run = with_metadata(folder, class_names=json.dumps(["a", "b\x1b[2J", "c", "d"]))
    with pytest.raises(RunError, match=r"class_names.1 must be text without control characters, not 'b"):
        _ = run.class_names


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_probabilities_are_the_softmax_of_the_logits_over_the_temperature(folder: Path, temperature: float) -> None:
    run = with_metadata(folder, temperature=json.dumps(temperature))
    images = tiny_split("test").images[:5]
    answers = run.predict_many(list(images), batch_size=2)
    logits = run.predictions.logits[:5].double().numpy()
    expected = np.exp(logits / temperature) / np.exp(logits / temperature).sum(axis=1, keepdims=True)
    for answer, shares in zip(answers, expected, strict=True):
        assert [answer.probabilities[name] for name in CLASS_NAMES] == pytest.approx(shares.tolist(), abs=1e-5)
        assert [name for name, _ in answer.top(2)] == [CLASS_NAMES[i] for i in np.argsort(-shares)[:2]]


def test_without_pictures_there_are_no_predictions(made: Run) -> None:
    assert made.predict_many([]) == []


def test_a_network_loaded_in_inference_mode_can_be_differentiated_later(folder: Path) -> None:
    run = Run(folder)
    with torch.inference_mode():
        run.predict(tiny_split("test").images[0])
    run.network(torch.rand(1, 3, 16, 16)).sum().backward()
    assert run.network.head.weight.grad is not None
    assert not run.network.training


def test_a_run_returns_newly_written_results(folder: Path) -> None:
    run = Run(folder)
    before = run.results
    run.save_json("results.json", {"test_acc": 0.125})
    assert before != run.results == {"test_acc": 0.125} == Run(folder).results


@pytest.mark.parametrize(
    ("name", "ask"),
    [
        ("environment.json", lambda run: run.environment),
        ("results.json", lambda run: run.results),
        ("predictions.npz", lambda run: run.predictions),
        ("model.safetensors", lambda run: run.class_names),
        ("recipe.yaml", lambda run: run.recipe),
    ],
)
@pytest.mark.parametrize("content", [b"", b"{\x80", None], ids=["empty", "garbage", "missing"])
def test_a_damaged_file_is_named_in_one_line_when_it_is_needed(
    folder: Path, name: str, ask: object, content: bytes | None
) -> None:
    run = Run(folder)
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(RunError) as caught:
        ask(run)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["class_names", "size_px", "temperature"])
@pytest.mark.parametrize("value", [None, "not JSON", '{"a": 1}', "null"])
def test_weights_without_metadata_are_refused_in_one_line(folder: Path, name: str, value: str | None) -> None:
    run = with_metadata(folder, **{name: value})
    with pytest.raises(RunError) as caught:
        run.predict(np.zeros((16, 16, 3), np.uint8))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_latest_run_is_the_last_finished_one(made: Run, tmp_path: Path) -> None:
    for seconds, name in ((300, "a/version_0"), (500, "b/version_2"), (400, "b/version_10")):
        copy = Path(shutil.copytree(made.path, tmp_path / name))
        os.utime(copy / "model.safetensors", (seconds, seconds))
    unfinished = Path(shutil.copytree(made.path, tmp_path / "b" / "version_11"))
    (unfinished / "model.safetensors").unlink()
    assert latest_run(tmp_path).path == tmp_path / "b" / "version_2"
    assert load(tmp_path / "a" / "version_0").class_names == CLASS_NAMES
