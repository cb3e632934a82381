"""Images in a file behave as the same images in memory, and are read only when they are needed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from firstlight.data import free_memory, mapped_images
from firstlight.data.exact_copies import describe_copies, first_copies
from firstlight.data.folds import Fold, split_fold
from firstlight.data.images import ImageSet, split_stratified, with_class_names
from firstlight.data.mapped_images import MappedImages
from firstlight.data.mapped_rows import map_rows
from firstlight.errors import DataError, UsageError


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[ImageSet, ImageSet]:
    """The same images in memory and in a file."""
    draw = np.random.default_rng(0)
    stored = draw.integers(0, 256, (50, 5, 4, 3), dtype=np.uint8)
    stored[7] = stored[31]
    (tmp_path / "pixels").write_bytes(stored.tobytes() + b"an index")
    labels = torch.from_numpy(draw.integers(0, 2, 50))
    names = tuple(f"{number}.png" for number in range(50))
    mapped = MappedImages(map_rows(tmp_path / "pixels", 50, (5, 4)))
    monkeypatch.setattr(mapped_images, "CHUNK_BYTES", 7 * 60)
    monkeypatch.setattr("firstlight.data.images.CHUNK_IMAGES", 7)
    pixels = torch.from_numpy(stored).permute(0, 3, 1, 2).contiguous()
    return tuple(ImageSet(each, labels, ("cat", "dog"), file_names=names, name="pets") for each in (pixels, mapped))  # type: ignore[return-value]


@pytest.fixture
def forbid_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("all images are loaded")

    monkeypatch.setattr(MappedImages, "load", fail)


def is_equal(one: ImageSet, other: ImageSet) -> bool:
    return (
        torch.equal(one.images, other.images)
        and torch.equal(one.labels, other.labels)
        and torch.equal(one.ids, other.ids)
        and (one.class_names, one.file_names, one.name) == (other.class_names, other.file_names, other.name)
    )


def test_loaded_images_are_those_of_the_file(pair: tuple[ImageSet, ImageSet]) -> None:
    memory, file = pair
    assert is_equal(memory, file)
    assert file.images.is_contiguous()
    assert file.images is file.images, "they are loaded once"


@pytest.mark.usefixtures("forbid_loading")
def test_statistics_digests_and_copies_load_nothing(pair: tuple[ImageSet, ImageSet]) -> None:
    memory, file = pair
    assert len(memory) == len(file) == 50
    assert memory.size_px == file.size_px == (5, 4)
    assert memory.mean_and_std == file.mean_and_std
    scaled = memory.images.double() / 255
    assert file.mean_and_std[0] == pytest.approx(scaled.mean(dim=(0, 2, 3)).tolist())
    assert file.mean_and_std[1] == pytest.approx(scaled.std(dim=(0, 2, 3), correction=0).tolist())
    assert memory.digest() == file.digest()
    assert first_copies(file.pixels).tolist() == first_copies(memory.pixels).tolist()
    assert first_copies(file.pixels)[31] == 7
    halves = [(each[:20], each[20:25], each[25:]) for each in pair]
    assert describe_copies(*halves[0]) == describe_copies(*halves[1]) != []


@pytest.mark.parametrize("index", [slice(3, 9), slice(0, 0), torch.tensor([5, 2, 2, 49])])
def test_indexing_reads_only_the_indexed_images(pair: tuple[ImageSet, ImageSet], index: slice | torch.Tensor) -> None:
    memory, file = pair
    part = file[index]
    assert isinstance(part.pixels, MappedImages)
    assert is_equal(memory[index], part)
    assert isinstance(file.pixels, MappedImages), "the whole is not loaded"


@pytest.mark.usefixtures("forbid_loading")
def test_splits_and_renamed_classes_stay_in_the_file(pair: tuple[ImageSet, ImageSet]) -> None:
    memory, file = pair
    for split in (lambda each: split_stratified(each, 9, 3), lambda each: split_fold(each, Fold(1, 3))):
        for one, other in zip(split(memory), split(file), strict=True):
            assert isinstance(other.pixels, MappedImages)
            assert torch.equal(one.ids, other.ids)
            assert one.digest() == other.digest()
    renamed = with_class_names(file, ("dog", "fox", "cat"))
    assert isinstance(renamed.pixels, MappedImages)
    assert renamed.labels.tolist() == [2 - 2 * label for label in memory.labels.tolist()]
    assert isinstance(file.changed(name="animals").pixels, MappedImages)


def test_replace_of_dataclasses_works_too(pair: tuple[ImageSet, ImageSet]) -> None:
    memory, file = pair
    assert is_equal(replace(memory, name="animals"), replace(file, name="animals"))


def test_loading_more_than_is_free_is_refused_in_one_line(
    pair: tuple[ImageSet, ImageSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(free_memory, "free_memory_bytes", lambda: 4000)
    with pytest.raises(DataError, match=r"^50 images of pets: this command needs 0\.0 GB of memory for them, and"):
        _ = pair[1].images
    assert len(pair[1][:30].images) == 30


def test_an_index_out_of_range_is_refused(pair: tuple[ImageSet, ImageSet]) -> None:
    for index in ([50], [-1]):
        with pytest.raises(IndexError, match="of 50 images"):
            pair[1].pixels.gather(torch.tensor(index))  # type: ignore[union-attr]


def test_a_file_that_is_too_small_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pixels").write_bytes(b"1234")
    with pytest.raises(ValueError, match="mmap length is greater than file size"):
        map_rows(tmp_path / "pixels", 1, (2, 2))
    assert map_rows(tmp_path / "pixels", 0, (2, 2)).shape == (0, 2, 2, 3)


def test_free_memory_respects_resource_limits() -> None:
    resource = pytest.importorskip("resource")
    before = free_memory.free_memory_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    used = free_memory._fields(Path("/proc/self/status"))["VmData"] * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (used + 2**28, hard))
    try:
        assert 0 < free_memory.free_memory_bytes() <= min(2**28, before)
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def test_the_limit_is_a_third_of_the_free_memory_unless_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FIRSTLIGHT_IMAGE_MEMORY_GB", raising=False)
    monkeypatch.setattr(free_memory, "free_memory_bytes", lambda: 3000)
    assert free_memory.fits_in_memory(1000)
    assert not free_memory.fits_in_memory(1001)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert not free_memory.fits_in_memory(501)
    monkeypatch.setenv("FIRSTLIGHT_IMAGE_MEMORY_GB", "0.5")
    assert free_memory.fits_in_memory(500_000_000)
    assert not free_memory.fits_in_memory(500_000_001)
    monkeypatch.setenv("FIRSTLIGHT_IMAGE_MEMORY_GB", "much")
    with pytest.raises(UsageError, match="FIRSTLIGHT_IMAGE_MEMORY_GB must be a number of gigabytes, not 'much'"):
        free_memory.fits_in_memory(1)
