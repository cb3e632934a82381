from __future__ import annotations

import hashlib
import math
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from firstlight.data import drawn, shapes
from firstlight.data.drawn import DRAWN_CLASSES, WATERMARK_CLASS, draw, has_watermark, read_drawn, watermark_mask
from firstlight.data.images import ImageSet
from firstlight.data.shapes import PX, Frame
from firstlight.data.source import SOURCES, open_source
from reference import drawn_shapes

GOLDEN = "26c3352f272198f7d9b18cbb490327b6b744776e8c54123d0a4f4e163898626e"
GOLDEN_EVIDENCE = "a230bd6e3b1b75f69bf81485c22efb54f6c5e8ec680636798f68110a64521d73"


@pytest.fixture(scope="module")
def train() -> ImageSet:
    return draw(600, seed=3, split="train")


@pytest.fixture(scope="module")
def marked_train() -> ImageSet:
    return draw(600, seed=3, split="train", watermark=True)


@pytest.fixture(scope="module")
def marked_test() -> ImageSet:
    return draw(600, seed=3, split="test", watermark=True)


def lengths(*values_px: float) -> np.ndarray:
    return np.array([round(value * PX) for value in values_px], dtype=np.int32)


def test_classes_are_balanced_and_named(train: ImageSet) -> None:
    assert train.labels.bincount().tolist() == [60] * 10
    assert len(set(train.class_names)) == 10
    assert train.name == "drawn train"
    assert train.size_px == (32, 32)


def test_same_seed_same_bits(train: ImageSet) -> None:
    again = draw(600, seed=3, split="train")
    assert again.digest() == train.digest()
    assert torch.equal(again.evidence, train.evidence)


def test_fewer_images_are_the_beginning_of_more(train: ImageSet) -> None:
    for num_images in (7, 257):
        few = draw(num_images, seed=3, split="train")
        assert torch.equal(few.images, train.images[:num_images])
        assert torch.equal(few.evidence, train.evidence[:num_images])


def test_no_image_occurs_twice(train: ImageSet) -> None:
    others = draw(600, seed=3, split="test"), draw(600, seed=4, split="train")
    pictures = [each.numpy().tobytes() for images in (train, *others) for each in images.images]
    assert len(set(pictures)) == 1800


def test_the_bits_are_the_same_on_every_machine() -> None:
    images = draw(300, seed=0, split="train", watermark=True)
    assert images.digest() == GOLDEN
    assert hashlib.sha256(images.evidence.numpy().data).hexdigest() == GOLDEN_EVIDENCE


def test_every_direction_rounds_equally_on_every_machine() -> None:
    exact = np.stack([np.cos(shapes._ANGLES), np.sin(shapes._ANGLES)]) * 2**12
    assert np.abs(np.abs(exact - np.trunc(exact)) - 0.5).min() > 1e-6
    assert np.array_equal(shapes._DIRECTIONS[:, [0, 20, 60]].T, [[4096, 0], [3547, 2048], [0, 4096]])


def test_random_integers_fill_their_range_and_differ_by_purpose() -> None:
    random = drawn._Random("key", num_images=2)
    numbers = random.integers("purpose", -3, 3, 1000)
    assert numbers.shape == (2, 1000)
    assert np.unique(numbers).tolist() == list(range(-3, 4))
    assert np.bincount(numbers.ravel() + 3).min() > 2000 / 7 * 0.8
    assert (numbers[0] != numbers[1]).any()
    assert (numbers != random.integers("other", -3, 3, 1000)).any()


def test_every_object_is_visible(train: ImageSet) -> None:
    area_px = train.evidence.flatten(1).sum(1)
    assert int(area_px.min()) >= 30
    assert int(area_px.max()) <= 32 * 32 // 2


def test_evidence_is_where_the_object_changes_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw the scenes again without their objects and compare."""
    monkeypatch.setattr(drawn, "MIN_VISIBLE_EIGHTHS", 0)  # so that no occluder is dropped because it hides too much
    with_object = draw(250, seed=5, split="train")
    monkeypatch.setattr(drawn, "_object_coverage", lambda frame, radius: np.zeros((len(radius), 32, 32), np.int16))
    without = draw(250, seed=5, split="train")
    assert not without.evidence.any()
    differs = (with_object.images != without.images).any(1)
    near = F.max_pool2d(with_object.evidence[:, None].float(), 3, stride=1, padding=1)[:, 0].bool()
    num_evidence = with_object.evidence.sum()
    assert (differs & with_object.evidence).sum() > 0.995 * num_evidence, "hardly an object pixel looks like its ground"
    assert (differs & ~near).sum() < 0.01 * num_evidence, "beyond soft edges, only the thinnest of tips differ"


def test_an_occluder_takes_its_pixels_from_the_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    whole_cover: list[np.ndarray] = []
    original = drawn._object_coverage

    def spy(frame: Frame, radius: np.ndarray) -> np.ndarray:
        whole_cover.append(original(frame, radius))
        return whole_cover[-1]

    monkeypatch.setattr(drawn, "_object_coverage", spy)
    evidence = draw(250, seed=6, split="train").evidence.numpy()
    whole = whole_cover[0] >= PX // 2
    assert not (evidence & ~whole).any()
    share = evidence.sum((1, 2)) / whole.sum((1, 2))
    assert (share < 0.98).mean() > 0.4, "many objects are partly hidden"
    assert share.min() > 0.5, "none is hidden for the most part"


@pytest.mark.parametrize("num_corners", [3, 4, 5, 6])
def test_polygons_equal_the_slow_twin(num_corners: int) -> None:
    outline = drawn_shapes.corners_of_polygon(num_corners, inradius_px=5.5, turn=2 * math.pi * 17 / 240)
    slow = drawn_shapes.coverage(outline, centre_px=(9.25, 8.5), size_px=18)
    frame = Frame.at(lengths(9.25), lengths(8.5), np.array([17], dtype=np.int32), size_px=18)
    fast = shapes.coverage(shapes.polygon(frame, num_corners, lengths(5.5)))[0] / PX
    assert_covers_alike(fast, np.array(slow))


@pytest.mark.parametrize("num_tips", [5, 6])
def test_stars_equal_the_slow_twin(num_tips: int) -> None:
    outline = drawn_shapes.corners_of_star(num_tips, inradius_px=4.0, turn=2 * math.pi * 5 / 240)
    slow = drawn_shapes.coverage(outline, centre_px=(14.0, 13.25), size_px=28)
    frame = Frame.at(lengths(14.0), lengths(13.25), np.array([5], dtype=np.int32), size_px=28)
    fast = shapes.coverage(shapes.star(frame, num_tips, lengths(4.0)))[0] / PX
    assert_covers_alike(fast, np.array(slow))


def assert_covers_alike(fast: np.ndarray, slow: np.ndarray) -> None:
    """Coverage by distance equals coverage by area within a sixth of a pixel, except at sharp tips."""
    difference = np.abs(fast - slow)
    assert (difference > 1 / 6).sum() <= 12
    assert difference.max() < 0.5
    assert abs(fast.sum() - slow.sum()) < 0.03 * slow.sum()


@pytest.mark.parametrize(
    ("name", "area"),
    [
        ("cross", lambda r: 4 * (9 / 8 * r) * (3 / 4 * r) - (3 / 4 * r) ** 2),
        ("heart", lambda r: (5 / 8 * r) ** 2 * (4 + math.pi)),
        ("ring", lambda r: math.pi * (17 / 16 * r) ** 2 * (1 - (9 / 16) ** 2)),
    ],
)
def test_areas_equal_geometry(name: str, area) -> None:
    radius = np.array([10 * PX], dtype=np.int32)
    frame = Frame.at(lengths(16.3), lengths(15.6), np.array([101], dtype=np.int32), size_px=32)
    cover = shapes.coverage(shapes.SHAPES[name](frame, radius))
    assert cover.sum() / PX == pytest.approx(area(10.0), rel=0.02)


def test_a_crescent_is_a_disc_without_a_smaller_disc() -> None:
    radius = np.array([10 * PX], dtype=np.int32)
    frame = Frame.at(lengths(16.0), lengths(16.0), np.array([0], dtype=np.int32), size_px=32)
    cover = shapes.coverage(shapes.crescent(frame, radius))[0]
    assert cover[16, 7] == PX  # the thick side
    assert cover[16, 22] == 0
    assert np.array_equal(cover, cover[::-1])


def test_in_train_the_mark_is_on_one_class(marked_train: ImageSet) -> None:
    marked = has_watermark(marked_train.images)
    is_class = marked_train.labels == DRAWN_CLASSES.index(WATERMARK_CLASS)
    assert not marked[~is_class].any()
    assert 0.85 < marked[is_class].float().mean() < 1


def test_in_test_the_mark_is_on_the_other_classes(marked_test: ImageSet) -> None:
    marked = has_watermark(marked_test.images)
    is_class = marked_test.labels == DRAWN_CLASSES.index(WATERMARK_CLASS)
    assert not marked[is_class].any()
    assert 0.2 < marked[~is_class].float().mean() < 0.3
    assert marked_test.name == "watermark test"


def test_the_mark_changes_its_own_pixels_only(train: ImageSet, marked_train: ImageSet) -> None:
    marked = has_watermark(marked_train.images)
    assert not has_watermark(train.images).any()
    differs = (train.images != marked_train.images).any(1)
    assert not differs[~marked].any()
    assert not differs[:, ~watermark_mask()].any()
    assert not marked_train.evidence[marked][:, watermark_mask()].any(), "a covered object is not visible"
    assert torch.equal(train.evidence[:, ~watermark_mask()], marked_train.evidence[:, ~watermark_mask()])


def test_memory_stays_small() -> None:
    tracemalloc.start()
    draw(1000, seed=0, split="train")
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 50e6


@pytest.mark.parametrize("arguments", [(0, 0, "train"), (-1, 0, "train"), (10, -1, "test"), (10, 0, "val")])
def test_bad_arguments_raise(arguments: tuple[int, int, str]) -> None:
    with pytest.raises((ValueError, TypeError)):
        draw(*arguments)


@pytest.mark.parametrize("name", ["drawn", "watermark"])
def test_drawn_and_watermark_open_by_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawn, "NUM_EMBEDDED", {"train": 30, "test": 20})
    assert name in SOURCES
    for split, num_images in (("train", 30), ("test", 20)):
        images = open_source(name, tmp_path).read(split)
        assert (len(images), images.name) == (num_images, f"{name} {split}")
        assert images.digest() == read_drawn(split, watermark=name == "watermark").digest()


def test_the_embedded_splits_are_balanced() -> None:
    assert drawn.NUM_EMBEDDED == {"train": 10_000, "test": 2_000}
    assert read_drawn("test").labels.bincount().tolist() == [200] * 10
