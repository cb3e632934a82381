"""Batches whose pixels are gathered by threads have the bits of those that stay on the device."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from firstlight.augment import fused
from firstlight.data.batches import Augmentation, Batches
from firstlight.data.gathering import gathered_ahead
from firstlight.data.images import ImageSet
from firstlight.data.mapped_images import MappedImages
from firstlight.data.mapped_rows import map_rows
from firstlight.data.sampler import EpochSampler
from firstlight.native.libraries import load_library

NUM_IMAGES = 61
AUGMENTATIONS = [
    None,
    Augmentation(2, "random", 0),
    Augmentation(2, "alternating", 3),
    Augmentation(2, "random", 0, trivial_augment=True, mixup=0.5, cutmix=1.0),
]


def in_memory_and_in_file(folder: Path) -> tuple[ImageSet, ImageSet]:
    """The same images twice; in the file they are in reverse order, with other images between them."""
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (NUM_IMAGES, 3, 8, 6), dtype=torch.uint8, generator=draw)
    labels = torch.randint(0, 3, (NUM_IMAGES,), generator=draw)
    stored = np.zeros((2 * NUM_IMAGES, 8, 6, 3), dtype=np.uint8)
    rows = torch.arange(2 * NUM_IMAGES - 1, 0, -2)
    stored[rows.numpy()] = pixels.permute(0, 2, 3, 1).numpy()
    (folder / "pixels").write_bytes(stored.tobytes())
    mapped = MappedImages(map_rows(folder / "pixels", 2 * NUM_IMAGES, (8, 6)), rows)
    ids = torch.arange(NUM_IMAGES) * 2 + 100
    return tuple(ImageSet(each, labels, ("cat", "dog", "ship"), ids=ids) for each in (pixels, mapped))  # type: ignore[return-value]


@pytest.mark.parametrize("in_one_pass", [True, False])
@pytest.mark.parametrize(("num_together", "rank"), [(1, None), (3, 0), (3, 2)])
@pytest.mark.parametrize("augmentation", AUGMENTATIONS, ids=str)
def test_both_have_the_same_bits(
    tmp_path: Path,
    augmentation: Augmentation | None,
    rank: int | None,
    num_together: int,
    in_one_pass: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if in_one_pass and load_library(fused.SOURCE, "augment") is None:
        pytest.skip("nothing can be compiled here")
    monkeypatch.setattr(fused, "MIN_PIXELS", 0 if in_one_pass else 2**62)
    monkeypatch.setattr(Batches, "_num_ahead", lambda self: num_together)
    shards = {} if rank is None else {"rank": rank, "num_ranks": 3}
    made = []
    for images in in_memory_and_in_file(tmp_path):
        sampler = EpochSampler(NUM_IMAGES, 9, shuffle=augmentation is not None, seed=4, hardest_share=0.4, **shards)
        batches = Batches(images, sampler, augmentation)
        assert batches.is_streamed == isinstance(images.pixels, MappedImages)
        batches.add_losses(images.ids, torch.arange(NUM_IMAGES).float())
        for epoch in (0, 1):
            sampler.set_epoch(epoch)
            made.append(list(batches))
    for resident, streamed in zip(made[:2], made[2:], strict=True):
        assert len(resident) == len(streamed) > 1
        for one, other in zip(resident, streamed, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
            assert one.images.stride() == other.images.stride()


def test_a_streamed_epoch_resumes_in_the_middle(tmp_path: Path) -> None:
    _, images = in_memory_and_in_file(tmp_path)
    augmentation = Augmentation(2, "random", 3)
    whole = list(Batches(images, EpochSampler(NUM_IMAGES, 9, shuffle=True, seed=4), augmentation))
    stopped = Batches(images, EpochSampler(NUM_IMAGES, 9, shuffle=True, seed=4), augmentation)
    for _ in zip(range(3), stopped, strict=False):
        pass
    resumed = Batches(images, EpochSampler(NUM_IMAGES, 9, shuffle=True, seed=4), augmentation)
    resumed.load_state_dict(stopped.state_dict())
    for one, other in zip(whole[3:], resumed, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_each_rank_reads_only_its_own_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, images = in_memory_and_in_file(tmp_path)
    read: list[int] = []
    gather = MappedImages.gather

    def record(self: MappedImages, index: torch.Tensor, *, pin_memory: bool = False) -> torch.Tensor:
        read.extend(index.tolist())
        return gather(self, index, pin_memory=pin_memory)

    monkeypatch.setattr(MappedImages, "gather", record)
    by_rank = []
    for rank in range(3):
        read.clear()
        list(Batches(images, EpochSampler(NUM_IMAGES, 9, shuffle=True, seed=4, rank=rank, num_ranks=3)))
        by_rank.append(set(read))
        assert len(read) == len(by_rank[-1]) in (20, 21)
    assert set.union(*by_rank) == set(range(NUM_IMAGES))


def test_an_abandoned_iteration_leaves_no_thread(tmp_path: Path) -> None:
    _, images = in_memory_and_in_file(tmp_path)
    batches = iter(Batches(images, EpochSampler(NUM_IMAGES, 2, shuffle=True, seed=4)))
    next(batches)
    assert [each for each in threading.enumerate() if each.name.startswith("firstlight-gather")]
    batches.close()  # type: ignore[attr-defined]
    assert not [each for each in threading.enumerate() if each.name.startswith("firstlight-gather")]


def test_an_error_of_a_thread_is_raised_where_the_batch_is_expected(tmp_path: Path) -> None:
    _, images = in_memory_and_in_file(tmp_path)
    gathered = gathered_ahead(images.pixels, [torch.tensor([0]), torch.tensor([NUM_IMAGES])])
    assert len(next(gathered)) == 1
    with pytest.raises(IndexError, match="61 to 61 of 61 images"):
        next(gathered)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("source", ["memory", "file"])
def test_images_that_do_not_fit_a_gpu_are_streamed_to_it(
    tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, file = in_memory_and_in_file(tmp_path)
    augmentation = Augmentation(2, "random", 3)
    resident = Batches(memory, EpochSampler(NUM_IMAGES, 9, shuffle=True, seed=4), augmentation, "cuda")
    assert not resident.is_streamed
    expected = list(resident)
    monkeypatch.setattr("firstlight.data.batches.MAX_DEVICE_SHARE", 0.0)
    images = memory if source == "memory" else file
    streamed = Batches(images, EpochSampler(NUM_IMAGES, 9, shuffle=True, seed=4), augmentation, "cuda")
    assert streamed.is_streamed
    for one, other in zip(expected, streamed, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
