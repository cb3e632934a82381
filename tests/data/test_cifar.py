from __future__ import annotations

import hashlib
import random
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from firstlight.data.cifar import read_cifar10
from firstlight.data.cifar_formats import BINARY_SHA256, PYTHON_MD5
from firstlight.data.images import ImageSet
from firstlight.data.pickles import read_pickled_dict
from firstlight.errors import DataError
from reference.batch_files import binary_batch, pickled, python_batch, python_meta

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
NAMES = [name.encode() for name in CLASSES]
FORMS = ("cifar-10-batches-bin", "cifar-10-batches-py")
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (4, 3, 32, 32), dtype=np.uint8)
LABELS = [3, 0, 9, 3]


def small_folder(place: Path, form: str, **files: bytes) -> Path:
    """Make a data_dir with a small test batch in one of the two formats, with some files replaced."""
    folder = place / form
    folder.mkdir(parents=True)
    if form.endswith("bin"):
        content = {"test_batch.bin": binary_batch(PIXELS, LABELS), "batches.meta.txt": b"\n".join(NAMES) + b"\n\n"}
    else:
        content = {"test_batch": python_batch(PIXELS, LABELS), "batches.meta": python_meta(NAMES)}
    for name, each in (content | files).items():
        (folder / name).write_bytes(each)
    return place


def read_small(place: Path) -> ImageSet:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return read_cifar10(place, "test")


def refusal(place: Path) -> str:
    """Return the message with which the test split is refused; check that it is one line."""
    with pytest.raises(DataError) as refused:
        read_small(place)
    message = str(refused.value)
    assert len(message.splitlines()) == 1
    return message


@pytest.fixture(scope="module")
def official(cifar10_dir: Path) -> dict[tuple[str, str], ImageSet]:
    """Both splits from both readers; warnings about digests are errors here."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return {(f, s): read_cifar10(cifar10_dir / f, s) for f in FORMS for s in ("train", "test")}  # type: ignore[arg-type]


@pytest.mark.parametrize(("split", "per_class"), [("train", 5000), ("test", 1000)])
def test_both_readers_give_the_official_images(
    official: dict[tuple[str, str], ImageSet], split: str, per_class: int
) -> None:
    binary, python = (official[form, split] for form in FORMS)
    assert torch.equal(binary.images, python.images)
    assert torch.equal(binary.labels, python.labels)
    assert binary.class_names == python.class_names == CLASSES
    assert binary.labels.bincount().tolist() == [per_class] * 10
    assert torch.equal(binary.ids, torch.arange(10 * per_class))
    assert binary.digest() == python.digest()


def test_channel_statistics_of_the_train_split_are_the_published_ones(
    official: dict[tuple[str, str], ImageSet],
) -> None:
    mean, std = official[FORMS[0], "train"].mean_and_std
    assert [round(value, 4) for value in mean] == [0.4914, 0.4822, 0.4465]
    assert [round(value, 4) for value in std] == [0.2470, 0.2435, 0.2616]


def test_every_official_file_has_its_digest_in_the_tables(cifar10_dir: Path) -> None:
    for form, algorithm, table in zip(FORMS, ("sha256", "md5"), (BINARY_SHA256, PYTHON_MD5), strict=True):
        batches = {path.name for path in (cifar10_dir / form).iterdir() if "batch" in path.name}
        assert batches - {"batches.meta.txt"} == set(table)
        for name, digest in table.items():
            assert hashlib.new(algorithm, (cifar10_dir / form / name).read_bytes()).hexdigest() == digest


@pytest.mark.parametrize("name", ["test_batch", "batches.meta"])
def test_the_pickles_that_these_tests_write_are_the_official_format_to_the_byte(cifar10_dir: Path, name: str) -> None:
    content = (cifar10_dir / FORMS[1] / name).read_bytes()
    assert hashlib.sha256(pickled(read_pickled_dict(content, name))).digest() == hashlib.sha256(content).digest()


@pytest.mark.parametrize(("form", "name"), [(FORMS[0], "test_batch.bin"), (FORMS[1], "test_batch")])
def test_one_changed_pixel_is_read_with_a_warning(
    cifar10_dir: Path, tmp_path: Path, official: dict[tuple[str, str], ImageSet], form: str, name: str
) -> None:
    folder = tmp_path / form
    folder.mkdir()
    shutil.copy(cifar10_dir / form / name, folder / name)
    with (folder / name).open("r+b") as stream:
        stream.seek(1_000_000)
        byte = stream.read(1)[0]
        stream.seek(1_000_000)
        stream.write(bytes([byte ^ 1]))
    with pytest.warns(UserWarning, match=f"{name}: well formed, but not the official release"):
        changed = read_cifar10(tmp_path, "test")
    assert int((changed.images != official[form, "test"].images).sum()) == 1


@pytest.mark.parametrize("form", FORMS)
def test_a_small_batch_is_read_pixel_for_pixel_with_a_warning_that_names_it(tmp_path: Path, form: str) -> None:
    small_folder(tmp_path, form)
    with pytest.warns(UserWarning, match=r"test_batch(\.bin)?: well formed, but not the official release"):
        found = read_cifar10(tmp_path, "test")
    assert np.array_equal(found.images.numpy(), PIXELS)
    assert found.labels.tolist() == LABELS
    assert found.class_names == CLASSES
    assert torch.equal(read_small(tmp_path / form).images, found.images)  # the inner folder is accepted, too


def test_the_train_split_is_the_five_batches_in_their_order(tmp_path: Path) -> None:
    parts = {f"data_batch_{i}.bin": binary_batch(PIXELS[:1] + i, [i]) for i in range(1, 6)}
    small_folder(tmp_path, FORMS[0], **parts)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = read_cifar10(tmp_path, "train")
    assert found.labels.tolist() == [1, 2, 3, 4, 5]
    assert np.array_equal(found.images.numpy(), np.concatenate([PIXELS[:1] + i for i in range(1, 6)]))


def test_without_a_file_of_names_the_known_names_are_used(tmp_path: Path) -> None:
    small_folder(tmp_path, FORMS[0])
    (tmp_path / FORMS[0] / "batches.meta.txt").unlink()
    assert read_small(tmp_path).class_names == CLASSES


RECORDS = binary_batch(PIXELS, LABELS)
WRONG_LABEL = binary_batch(PIXELS, [3, 0, 10, 255])


@pytest.mark.parametrize(
    ("files", "name", "found"),
    [
        ({"test_batch.bin": RECORDS[:-1]}, "test_batch.bin", "ends inside a record at byte 12291"),
        ({"test_batch.bin": RECORDS + b"\0"}, "test_batch.bin", "ends inside a record at byte 12293"),
        ({"test_batch.bin": RECORDS[:1]}, "test_batch.bin", "ends inside a record at byte 1 "),
        ({"test_batch.bin": WRONG_LABEL}, "test_batch.bin", "label 10 at byte 6146"),
        ({"test_batch.bin": b""}, "test_batch.bin", "ends at byte 0 without an image"),
        ({"batches.meta.txt": b"cat\ndog\n"}, "batches.meta.txt", "ends at byte 8 with 2 class names"),
        ({"batches.meta.txt": b"a\n" * 11}, "batches.meta.txt", "ends at byte 22 with 11 class names"),
        ({"batches.meta.txt": b""}, "batches.meta.txt", "ends at byte 0 with 0 class names"),
        ({"batches.meta.txt": b"cat\nd\xf6g\n"}, "batches.meta.txt", "not text at byte 5"),
    ],
)
def test_a_malformed_binary_file_is_refused_with_name_and_offset(
    tmp_path: Path, files: dict[str, bytes], name: str, found: str
) -> None:
    message = refusal(small_folder(tmp_path, FORMS[0], **files))
    assert str(tmp_path / FORMS[0] / name) in message
    assert found in message


def python_case(**changes: object) -> bytes:
    whole: dict[bytes, object] = {b"labels": LABELS, b"data": PIXELS.reshape(4, -1)}
    return pickled(whole | {name.encode(): value for name, value in changes.items()})


WHOLE = python_case()


@pytest.mark.parametrize(
    ("files", "name", "found"),
    [
        ({"test_batch": b""}, "test_batch", "refused at byte 0"),
        ({"test_batch": WHOLE[:-1]}, "test_batch", f"refused at byte {len(WHOLE) - 1}"),
        ({"test_batch": WHOLE[:5000]}, "test_batch", "refused at byte 5000"),
        ({"test_batch": python_case(labels=[3, 0, 10, 3])}, "test_batch", "label 10 at position 2 of 'labels'"),
        ({"test_batch": python_case(labels=[3, -1, 9, 3])}, "test_batch", "label -1 at position 1 of 'labels'"),
        ({"test_batch": python_case(labels=[3, 1, 9, 256])}, "test_batch", "label 256 at position 3 of 'labels'"),
        ({"test_batch": python_case(labels=[b"3"] * 4)}, "test_batch", "label of type bytes at position 0"),
        ({"test_batch": python_case(labels=[[]] * 4)}, "test_batch", "label of type list at position 0"),
        ({"test_batch": python_case(labels=[1, 2, 3])}, "test_batch", "without 'labels' as a list of 4"),
        ({"test_batch": python_case(labels=7)}, "test_batch", "without 'labels' as a list of 4"),
        ({"test_batch": python_case(labels=PIXELS[0, 0, 0, :4])}, "test_batch", "refused at byte"),
        ({"test_batch": python_case(data=PIXELS.reshape(8, -1))}, "test_batch", "array of 3072 bytes a row"),
        ({"test_batch": python_case(data=PIXELS.reshape(4, 3, -1))}, "test_batch", "refused at byte"),
        ({"test_batch": python_case(data=b"pixels")}, "test_batch", "array of 3072 bytes a row"),
        ({"test_batch": python_case(data=PIXELS.reshape(4, -1)[:0], labels=[])}, "test_batch", "without an image"),
        ({"test_batch": pickled([1])}, "test_batch", "without a dictionary"),
        ({"test_batch": pickled({})}, "test_batch", "array of 3072 bytes a row"),
        ({"batches.meta": python_meta(NAMES[:9])}, "batches.meta", "with 9 class names"),
        ({"batches.meta": python_meta([*NAMES, b"moon"])}, "batches.meta", "with 11 class names"),
        ({"batches.meta": python_meta([*NAMES[:9], b"cami\xf3n"])}, "batches.meta", "at position 9 of 'label_names'"),
        ({"batches.meta": pickled({b"label_names": [1] * 10})}, "batches.meta", "without 'label_names'"),
        ({"batches.meta": pickled({b"num_vis": 3072})}, "batches.meta", "without 'label_names'"),
        ({"batches.meta": b""}, "batches.meta", "refused at byte 0"),
    ],
)
def test_a_malformed_python_file_is_refused_with_name_and_offset(
    tmp_path: Path, files: dict[str, bytes], name: str, found: str
) -> None:
    message = refusal(small_folder(tmp_path, FORMS[1], **files))
    assert f"{tmp_path / FORMS[1] / name}:" in message
    assert found in message
    assert "byte" in message or "position" in message


def test_missing_data_is_refused_with_what_to_do(tmp_path: Path) -> None:
    message = refusal(tmp_path)
    assert message.startswith(f"no CIFAR-10 in {tmp_path}: expected ")
    assert "--data_dir" in message


@pytest.mark.parametrize("obstacle", ["missing", "folder"])
def test_an_unreadable_batch_is_named(tmp_path: Path, obstacle: str) -> None:
    small_folder(tmp_path, FORMS[0])
    if obstacle == "folder":
        (tmp_path / FORMS[0] / "data_batch_1.bin").mkdir()
    with pytest.raises(DataError, match=r"data_batch_1\.bin: (No such file|Is a directory)") as refused:
        read_cifar10(tmp_path, "train")
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("form", FORMS)
def test_randomly_damaged_files_are_read_or_refused(tmp_path: Path, form: str) -> None:
    small_folder(tmp_path, form)
    name = "test_batch.bin" if form.endswith("bin") else "test_batch"
    path = tmp_path / form / name
    whole = path.read_bytes()
    skeleton = [i for i in range(len(whole)) if i < 300 or i > len(whole) - 200]  # so that not only pixels are damaged
    draw = random.Random(0)
    outcomes = {"read": 0, "refused": 0}
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(draw.randint(1, 3)):
            place = draw.choice(skeleton) if draw.random() < 0.7 else draw.randrange(len(whole))
            damaged[place] = draw.randrange(256)
        if draw.random() < 0.3:
            del damaged[draw.randrange(len(damaged)) :]
        path.write_bytes(damaged)
        found, refused = None, None
        try:
            found = read_small(tmp_path)
        except DataError as error:
            refused = str(error)
        outcomes["read" if refused is None else "refused"] += 1
        if found is not None:
            assert found.images.shape[1:] == (3, 32, 32)
        else:
            assert refused is not None
            assert f"{path}: " in refused
            assert len(refused.splitlines()) == 1
    assert min(outcomes.values()) > 20, outcomes
