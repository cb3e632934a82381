from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from firstlight.augment import fused
from firstlight.data.batches import Augmentation, Batches, EpochDraws
from firstlight.data.images import ImageSet
from firstlight.data.sampler import EpochSampler
from firstlight.errors import UsageError
from firstlight.native.libraries import load_library
from reference.epochs import Setting, replay
from reference.unchecked import without_type_checks

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")),
]


def noise_set(num_images: int, size_px: tuple[int, int] = (8, 6)) -> ImageSet:
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (num_images, 3, *size_px), dtype=torch.uint8, generator=draw)
    labels = torch.randint(0, 3, (num_images,), generator=draw)
    return ImageSet(pixels, labels, ("cat", "dog", "ship"), ids=torch.arange(num_images) * 2 + 100)


def make(
    images: ImageSet, setting: Setting, rank: int = 0, num_ranks: int = 1, device: str = "cpu", epoch: int = 0
) -> Batches:
    how = Augmentation(setting.crop_px, setting.flip, setting.cutout_px)  # type: ignore[arg-type]
    sampler = EpochSampler(
        len(images), setting.batch_size, shuffle=True, seed=setting.seed, rank=rank, num_ranks=num_ranks
    )
    batches = Batches(images, sampler, how, device)
    batches.sampler.set_epoch(epoch)
    return batches


SETTINGS = [
    Setting(seed=0, batch_size=8, crop_px=4, flip="random", cutout_px=0),
    Setting(seed=1, batch_size=8, crop_px=2, flip="alternating", cutout_px=5),
    Setting(seed=2, batch_size=5, crop_px=0, flip="random", cutout_px=4),
    Setting(seed=3, batch_size=25, crop_px=5, flip="none", cutout_px=0),
    Setting(seed=3, batch_size=7, crop_px=0, flip="none", cutout_px=0),
]


@pytest.mark.parametrize("in_one_pass", [True, False])
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("num_ranks", [1, 3])
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_any_batch_is_replayed_to_the_pixel_from_seed_and_epoch(
    setting: Setting, num_ranks: int, device: str, in_one_pass: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if in_one_pass and load_library(fused.SOURCE, "augment") is None:
        pytest.skip("nothing can be compiled here")
    monkeypatch.setattr(fused, "MIN_PIXELS", 0 if in_one_pass else 2**62)
    images = noise_set(25)
    for epoch in (0, 1, 4):
        by_rank = [list(make(images, setting, rank, num_ranks, device, epoch)) for rank in range(num_ranks)]
        for number, parts in enumerate(zip(*by_rank, strict=True)):
            expected, chosen = replay(images.images.numpy(), setting, epoch, number)
            if number == len(by_rank[0]) - 1 and len(chosen) < sum(len(part.ids) for part in parts):
                rest, more = replay(images.images.numpy(), setting, epoch, number + 1)  # merged into the last batch
                expected, chosen = np.concatenate([expected, rest]), chosen + more
            assert np.array_equal(torch.cat([part.images for part in parts]).cpu().numpy(), expected)
            assert torch.cat([part.ids for part in parts]).tolist() == images.ids[chosen].tolist()
            assert torch.cat([part.labels for part in parts]).tolist() == images.labels[chosen].tolist()


def test_alternating_flip_shows_each_image_both_ways_in_two_consecutive_epochs() -> None:
    images = noise_set(40)
    setting = Setting(seed=0, batch_size=16, crop_px=0, flip="alternating", cutout_px=0)
    ways = []
    for epoch in (6, 7, 8):
        ways.append({})
        for batch in make(images, setting, epoch=epoch):
            for image, number in zip((batch.images * 255).round().byte(), batch.ids.tolist(), strict=True):
                original = images.images[(number - 100) // 2]
                assert torch.equal(image, original) or torch.equal(image, original.flip(2))
                ways[-1][number] = torch.equal(image, original)
    assert len(ways[0]) == 40
    assert {True, False} == set(ways[0].values())
    assert all(ways[0][number] != ways[1][number] for number in ways[0])
    assert ways[0] == ways[2]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("setting", [None, SETTINGS[1]], ids=["untouched", "augmented"])
def test_batches_are_channels_last_floats_in_the_unit_range_on_their_device(
    setting: Setting | None, device: str
) -> None:
    images = noise_set(20, (8, 8))
    before = images.digest()
    sampler = EpochSampler(20, 8, shuffle=True, seed=0)
    how = None if setting is None else Augmentation(setting.crop_px, setting.flip, setting.cutout_px)  # type: ignore[arg-type]
    batches = Batches(images, sampler, how, device)
    assert len(batches) == 3
    for batch in batches:
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        assert batch.images.dtype == torch.float32
        assert (batch.labels.dtype, batch.ids.dtype) == (torch.int64, torch.int64)
        assert {part.device.type for part in batch} == {device}
        assert 0 <= batch.images.min() < 0.1
        assert 0.9 < batch.images.max() <= 1
    assert images.digest() == before


def test_without_augmentation_the_pixels_are_unchanged_and_in_order() -> None:
    images = noise_set(10)
    batches = list(Batches(images, EpochSampler(10, 4, shuffle=False, seed=0)))
    together = torch.cat([batch.images for batch in batches]).numpy()
    assert np.array_equal(together, images.images.numpy().astype(np.float32) / np.float32(255))
    assert [len(batch.labels) for batch in batches] == [4, 4, 2]
    assert torch.cat([batch.ids for batch in batches]).tolist() == images.ids.tolist()


def test_an_epoch_resumes_in_the_middle_with_the_same_bits() -> None:
    images = noise_set(30)
    whole = list(make(images, SETTINGS[1], epoch=2))
    broken_off = make(images, SETTINGS[1], epoch=2)
    for _ in zip(range(2), broken_off, strict=False):
        pass
    later = make(images, SETTINGS[1])
    later.load_state_dict(broken_off.state_dict())
    rest = list(later)
    assert len(rest) == len(whole) - 2
    for one, other in zip(rest, whole[2:], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("num_ahead", [2, 3, 100])
def test_batches_that_are_prepared_together_are_equal(num_ahead: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU; the stored position is that of the last yielded batch, not of the last prepared one."""
    setting, images = SETTINGS[1], noise_set(29)
    one_by_one = list(make(images, setting, epoch=1))
    monkeypatch.setattr(Batches, "_num_ahead", lambda self: num_ahead)
    batches, found, states = make(images, setting, epoch=1), [], []
    for batch in batches:
        found.append(batch)
        states.append(batches.state_dict()["next_batch"])
    assert states == [1, 2, 3, 4]
    for one, other in zip(one_by_one, found, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
        assert other.images.is_contiguous(memory_format=torch.channels_last)
    rest = make(images, setting, epoch=1)
    rest.load_state_dict({"epoch": 1, "next_batch": 3})
    (last,) = list(rest)
    assert torch.equal(last.images, one_by_one[3].images)
    rest.load_state_dict({"epoch": 1, "next_batch": 4})
    assert not list(rest)


def test_on_a_gpu_ten_thousand_images_are_prepared_together() -> None:
    sampler = EpochSampler(25, 5, shuffle=False, seed=0)
    assert Batches(noise_set(25), sampler)._num_ahead() == 1
    assert Batches(noise_set(25, (32, 32)), sampler, device="meta")._num_ahead() == 2000
    assert Batches(noise_set(25, (320, 320)), sampler, device="meta")._num_ahead() == 20


def test_the_first_batches_of_two_iterations_are_equal() -> None:
    batches = make(noise_set(30), SETTINGS[0])
    assert torch.equal(next(iter(batches)).ids, next(iter(batches)).ids)
    assert len(list(batches)) == len(batches)


MIXING = [
    Augmentation(crop_px=2, mixup=0.4),
    Augmentation(crop_px=2, cutmix=1.0, mixed_share=0.6),
    Augmentation(crop_px=2, trivial_augment=True, erasing=0.5, mixup=1.0, cutmix=1.0),
]


def mixing_batches(images: ImageSet, how: Augmentation, rank: int = 0, num_ranks: int = 1, epoch: int = 2) -> Batches:
    sampler = EpochSampler(len(images), 8, shuffle=True, seed=5, rank=rank, num_ranks=num_ranks)
    sampler.set_epoch(epoch)
    return Batches(images, sampler, how)


@pytest.mark.parametrize("how", MIXING, ids=["mixup", "cutmix", "all"])
def test_mixed_images_and_targets_are_those_of_two_images_of_the_epoch(how: Augmentation) -> None:
    """The unmixed batches give both images; pixels and targets are then mixed by hand."""
    images = noise_set(25)
    single = dataclasses.replace(how, mixup=0.0, cutmix=0.0)
    shown = {}
    for batch in mixing_batches(images, single):
        assert batch.labels.dtype == torch.int64
        shown |= dict(zip(batch.ids.tolist(), batch.images, strict=True))
    mixture = EpochDraws.draw(25, images.size_px, how, seed=5, epoch=2).mixture
    assert mixture is not None
    kinds = set()
    for batch in mixing_batches(images, how):
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        for pixels, target, id_ in zip(batch.images, batch.labels, batch.ids.tolist(), strict=True):
            row = images.ids.tolist().index(id_)
            other = int(mixture.partner[row])
            share, (top, bottom, left, right) = float(mixture.mixup_share[row]), mixture.cutmix_box[row].tolist()
            theirs = shown[int(images.ids[other])]
            expected = share * shown[id_] + (1 - share) * theirs
            expected[:, top:bottom, left:right] = theirs[:, top:bottom, left:right]
            torch.testing.assert_close(pixels, expected)
            own = share * (1 - (bottom - top) * (right - left) / 48)
            wanted = torch.zeros(3)
            wanted[images.labels[row]] += own
            wanted[images.labels[other]] += 1 - own
            torch.testing.assert_close(target, wanted)
            kinds |= {"mixup"} if share < 1 else {"cutmix"} if bottom > top else {"none"}
    assert kinds >= {name for name in ("mixup", "cutmix") if getattr(how, name)}


@pytest.mark.parametrize("how", MIXING, ids=["mixup", "cutmix", "all"])
def test_mixed_batches_resume_and_do_not_depend_on_the_number_of_devices(how: Augmentation) -> None:
    images = noise_set(24)
    whole = list(mixing_batches(images, how))
    by_rank = [list(mixing_batches(images, how, rank, 2)) for rank in range(2)]
    for one, parts in zip(whole, zip(*by_rank, strict=True), strict=True):
        for ours, columns in zip(one, zip(*parts, strict=True), strict=True):
            assert torch.equal(ours, torch.cat(columns))
    stopped = mixing_batches(images, how)
    next(iter(stopped))
    later = mixing_batches(images, how, epoch=0)
    later.load_state_dict(stopped.state_dict())
    for one, other in zip(whole[1:], later, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_new_operations_leave_the_older_draws_unchanged() -> None:
    plain = EpochDraws.draw(20, (8, 8), Augmentation(2, "random", 4), seed=3, epoch=1)
    strong = EpochDraws.draw(20, (8, 8), Augmentation(2, "random", 4, True, 0.5, 0.2, 1.0), seed=3, epoch=1)
    for name in ("down", "right", "mirrored", "cut_row", "cut_column"):
        assert torch.equal(getattr(plain, name), getattr(strong, name))
    assert {getattr(plain, field.name) is None for field in dataclasses.fields(plain)[5:]} == {True}


def test_draws_cover_their_ranges_evenly_and_change_from_epoch_to_epoch() -> None:
    num_images = 18_000
    how = Augmentation(crop_px=4, flip="random", cutout_px=8)
    epochs = [EpochDraws.draw(num_images, (32, 30), how, seed=0, epoch=epoch) for epoch in (0, 1)]
    for draws in epochs:
        for shift in (draws.down, draws.right):
            counts = torch.bincount(shift + 4)
            assert len(counts) == 9
            assert (counts - 2000).abs().max() < 5 * 2000**0.5
        assert abs(draws.mirrored.float().mean() - 0.5) < 0.02
        # the centre may be any pixel, also at the edge
        assert (int(draws.cut_row.min()), int(draws.cut_row.max())) == (-4, 31 - 4)
        assert (int(draws.cut_column.min()), int(draws.cut_column.max())) == (-4, 29 - 4)
    assert abs((epochs[0].mirrored == epochs[1].mirrored).float().mean() - 0.5) < 0.02
    independent = torch.stack([epochs[0].down, epochs[0].right, epochs[1].down, epochs[0].cut_row]).double()
    assert (torch.corrcoef(independent) - torch.eye(4)).abs().max() < 0.04


@pytest.mark.parametrize("flip", ["none", "random", "alternating"])
def test_a_repeated_image_is_augmented_differently(flip: str) -> None:
    images = noise_set(40, (8, 8))
    how = Augmentation(crop_px=2, flip=flip)  # type: ignore[arg-type]
    batches = Batches(images, EpochSampler(40, 8, shuffle=True, seed=0, hardest_share=0.25), how)
    assert batches.wants_losses
    hardest = images.ids[torch.randperm(40, generator=torch.Generator().manual_seed(1))[:10]]
    for batch in batches:
        batches.add_losses(batch.ids, torch.isin(batch.ids, hardest).float())
    batches.sampler.set_epoch(1)
    seen: dict[int, list[torch.Tensor]] = {}
    draws = EpochDraws.draw(40, (8, 8), how, seed=0, epoch=1, num_rounds=4)
    for batch in batches:
        for pixels, label, id_ in zip(batch.images, batch.labels, batch.ids.tolist(), strict=True):
            place = images.ids.tolist().index(id_)
            assert label == images.labels[place]
            visit = place + 40 * len(seen.setdefault(id_, []))
            whole = torch.nn.functional.pad(images.images[place].float() / 255, (2, 2, 2, 2), mode="reflect")
            top, left = 2 + int(draws.down[visit]), 2 + int(draws.right[visit])
            expected = whole[:, top : top + 8, left : left + 8]
            if flip != "none" and draws.mirrored[visit]:
                expected = expected.flip(2)
            torch.testing.assert_close(pixels, expected)
            seen[id_].append(draws.mirrored[visit])
    assert sorted(seen) == sorted(hardest.tolist())
    assert {len(each) for each in seen.values()} == {4}
    if flip == "alternating":
        assert all(one != other for each in seen.values() for one, other in itertools.pairwise(each))
    assert len(set(draws.down[:40] * 5 + draws.right[:40])) > 10
    assert not torch.equal(draws.down[:40], draws.down[40:80])


def test_batches_without_pruning_need_no_losses() -> None:
    batches = make(noise_set(10), SETTINGS[0])
    assert not batches.wants_losses
    batches.add_losses(torch.tensor([100]), torch.tensor([1.0]))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"crop_px": -1}, "augmentation.crop_px and augmentation.cutout_px must be 0 or more"),
        ({"cutout_px": -2}, "augmentation.crop_px and augmentation.cutout_px must be 0 or more"),
        ({"mixup": -0.1}, "augmentation.mixup must be 0 to 100, not -0.1"),
        ({"cutmix": float("nan")}, "augmentation.cutmix must be 0 to 100, not nan"),
        ({"erasing": 1.5}, "augmentation.erasing must be 0 to 1, not 1.5"),
        ({"mixed_share": 2.0}, "augmentation.mixed_share must be 0 to 1, not 2.0"),
        ({"flip": "vertical"}, "flip must be one of none, random, alternating, not 'vertical'"),
    ],
)
def test_invalid_augmentations_are_refused(fields: dict[str, object], message: str) -> None:
    with without_type_checks(), pytest.raises(UsageError, match=message):
        Augmentation(**fields)  # type: ignore[arg-type]


def test_a_shift_as_large_as_the_images_is_refused_before_it_reads_wrong_pixels() -> None:
    images = noise_set(4, (8, 6))
    sampler = EpochSampler(4, 2, shuffle=True, seed=0)
    assert len(list(Batches(images, sampler, Augmentation(crop_px=5)))) == 2
    with pytest.raises(UsageError, match="crop_px 6 must be smaller than the images, which measure 8x6 pixels"):
        Batches(images, sampler, Augmentation(crop_px=6))
