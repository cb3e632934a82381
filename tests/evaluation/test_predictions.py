from __future__ import annotations

import math
import random
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from firstlight.data.images import ImageSet
from firstlight.errors import RunError
from firstlight.evaluation.predictions import Predictions, ordered_by_id, with_file_names
from reference.unchecked import without_type_checks

LOGITS = torch.tensor([[2.0, 0.0], [0.0, 3.0], [0.0, 1.0], [5.0, 0.0], [1.0, 0.0]])
LABELS = torch.tensor([0, 0, 0, 1, 1])


def some() -> Predictions:
    return Predictions(LOGITS, torch.arange(15.0).reshape(5, 3), LABELS, torch.tensor([4, 7, 8, 9, 11]))


def test_accuracy_and_the_wrong_rows_most_confident_first() -> None:
    predictions = some()
    assert len(predictions) == 5
    assert predictions.predicted.tolist() == [0, 1, 1, 0, 0]
    assert predictions.accuracy == 1 / 5
    # differences of the two logits: 3, 1, 5 and 1; the equal ones keep their order
    assert predictions.misclassified().tolist() == [3, 1, 2, 4]


def test_the_loss_is_the_mean_cross_entropy_whichever_way_the_rows_were_shared() -> None:
    draw = torch.Generator().manual_seed(3)
    logits, labels = torch.randn(501, 10, generator=draw), torch.randint(10, (501,), generator=draw)
    ids, features = torch.arange(501), torch.zeros(501, 1)
    found = Predictions(logits, features, labels, ids).loss
    rows = zip(logits.double().tolist(), labels.tolist(), strict=True)
    expected = [math.log(sum(map(math.exp, row))) - row[label] for row, label in rows]
    assert found == pytest.approx(math.fsum(expected) / 501, rel=1e-14)
    for num_ranks in (2, 3):
        order = torch.cat([ids[rank::num_ranks] for rank in range(num_ranks)])
        assert ordered_by_id(logits[order], features[order], labels[order], ids[order]).loss == found


def test_without_images_accuracy_and_loss_are_nan() -> None:
    nothing = torch.zeros(0, dtype=torch.int64)
    found = Predictions(torch.zeros(0, 3), torch.zeros(0, 2), nothing, nothing)
    assert math.isnan(found.accuracy)
    assert math.isnan(found.loss)


def test_probabilities_are_the_softmax_at_the_temperature() -> None:
    probabilities = some().probabilities(temperature=2.0)
    assert probabilities[0, 0].item() == pytest.approx(math.exp(1) / (math.exp(1) + 1))
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(5))


def test_saved_predictions_are_loaded_bit_for_bit(tmp_path: Path) -> None:
    predictions = some()
    predictions.save(tmp_path / "predictions.npz")
    loaded = Predictions.load(tmp_path / "predictions.npz")
    for name in ("logits", "features", "labels", "ids"):
        assert torch.equal(getattr(loaded, name), getattr(predictions, name))
        assert getattr(loaded, name).dtype == getattr(predictions, name).dtype
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.npz"]


def test_rows_are_ordered_by_id_whichever_rank_they_came_from() -> None:
    shuffled = torch.tensor([3, 0, 4, 2, 1])
    whole = some()
    ordered = ordered_by_id(
        whole.logits[shuffled].bfloat16(), whole.features[shuffled].half(), LABELS[shuffled], whole.ids[shuffled]
    )
    for name in ("logits", "features", "labels", "ids"):
        assert torch.equal(getattr(ordered, name), getattr(whole, name))
    assert (ordered.logits.dtype, ordered.features.dtype) == (torch.float32, torch.float32)


class Trap:
    """An object whose unpickling creates a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.mark,)


def whole_arrays(**changes: np.ndarray | None) -> dict[str, np.ndarray]:
    predictions = some()
    arrays = {name: getattr(predictions, name).numpy() for name in ("logits", "features", "labels", "ids")}
    return {name: array for name, array in (arrays | changes).items() if array is not None}


def refusal(path: Path) -> None:
    with without_type_checks(), pytest.raises(RunError) as refused:
        Predictions.load(path)
    assert len(str(refused.value).splitlines()) == 1
    assert str(path) in str(refused.value)


def test_a_pickled_array_is_refused_unread(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    trap = np.array([Trap(mark)] * 5, dtype=object)
    np.savez(tmp_path / "trap.npz", allow_pickle=True, **whole_arrays(labels=trap))
    refusal(tmp_path / "trap.npz")
    np.save(tmp_path / "bare.npy", trap, allow_pickle=True)
    refusal(tmp_path / "bare.npy")
    assert not mark.exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"ids": None},
        {"labels": np.zeros(4, dtype=np.int64)},
        {"labels": np.zeros((5, 1), dtype=np.int64)},
        {"labels": np.zeros(5, dtype=np.float32)},
        {"logits": np.zeros((5, 2), dtype=np.float64)},
        {"logits": np.zeros(5, dtype=np.float32)},
        {"features": np.zeros((6, 3), dtype=np.float32)},
        {"features": np.array([["a"] * 3] * 5)},
    ],
    ids=str,
)
def test_arrays_of_wrong_shape_or_type_are_refused(tmp_path: Path, changes: dict[str, np.ndarray | None]) -> None:
    np.savez(tmp_path / "predictions.npz", allow_pickle=False, **whole_arrays(**changes))
    refusal(tmp_path / "predictions.npz")


def test_a_missing_file_a_folder_and_no_archive_are_refused(tmp_path: Path) -> None:
    refusal(tmp_path / "absent.npz")
    refusal(tmp_path)
    np.save(tmp_path / "array.npy", np.zeros(3))
    for name, content in (("empty", b""), ("text", b"logits"), ("array", (tmp_path / "array.npy").read_bytes())):
        (tmp_path / f"{name}.npz").write_bytes(content)
        refusal(tmp_path / f"{name}.npz")
    with zipfile.ZipFile(tmp_path / "other.npz", "w") as archive:
        archive.writestr("logits.npy", b"not an array")
    refusal(tmp_path / "other.npz")


def test_randomly_damaged_files_are_refused_or_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "predictions.npz"
    some().save(path)
    whole = path.read_bytes()
    draw = random.Random(0)
    num_refused = 0
    for _ in range(400):
        damaged = bytearray(whole)
        for _ in range(draw.randint(1, 3)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        if draw.random() < 0.2:
            del damaged[draw.randrange(len(damaged)) :]
        path.write_bytes(damaged)
        try:
            loaded = Predictions.load(path)
        except RunError:
            num_refused += 1
        else:
            assert torch.equal(loaded.logits, LOGITS)  # the archive's checksums detect damage
    assert num_refused > 100


def test_file_names_are_found_by_id_and_stored(tmp_path: Path) -> None:
    pixels = torch.zeros(12, 3, 2, 2, dtype=torch.uint8)
    images = ImageSet(pixels, torch.zeros(12).long(), ("cat",), file_names=tuple(f"cat/{i} é.png" for i in range(12)))
    named = with_file_names(some(), images)
    named.save(tmp_path / "p.npz")
    assert Predictions.load(tmp_path / "p.npz").file_names == named.file_names
    assert named.file_names == ("cat/4 é.png", "cat/7 é.png", "cat/8 é.png", "cat/9 é.png", "cat/11 é.png")
    assert with_file_names(some(), replace(images, file_names=None)).file_names is None
    some().save(tmp_path / "old.npz")
    assert Predictions.load(tmp_path / "old.npz").file_names is None
    for damaged in (np.array(["a"]), np.arange(5)):
        with np.load(tmp_path / "p.npz") as stored:
            np.savez(tmp_path / "bad.npz", **(dict(stored) | {"file_names": damaged}))
        with pytest.raises(RunError, match="cannot be read as predictions"):
            Predictions.load(tmp_path / "bad.npz")
