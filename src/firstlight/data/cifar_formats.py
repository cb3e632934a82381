"""The published formats of CIFAR-10 and CIFAR-100: file names, digests and parsers.

(Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images".)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from firstlight.data.pickles import read_pickled_dict
from firstlight.errors import DataError

Split = Literal["train", "test"]
Batch = tuple[np.ndarray, np.ndarray]  # pixels uint8 [n 3 32 32], labels uint8 [n]

SIDE_PX = 32
PIXEL_BYTES = 3 * SIDE_PX * SIDE_PX


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR100_CLASSES = _words(
    """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
    caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant
    flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree
    motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate
    poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider
    squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle
    wardrobe whale willow_tree wolf woman worm
    """
)
CIFAR100_SUPERCLASSES = _words(
    """
    aquatic_mammals fish flowers food_containers fruit_and_vegetables household_electrical_devices household_furniture
    insects large_carnivores large_man-made_outdoor_things large_natural_outdoor_scenes large_omnivores_and_herbivores
    medium_mammals non-insect_invertebrates people reptiles small_mammals trees vehicles_1 vehicles_2
    """
)

BINARY_SHA256 = {
    "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}
PYTHON_MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
    "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
}
# The digests of CIFAR-100 are those that torchvision records, for Ruby (sha256) and for Python (md5).
CIFAR100_BINARY_SHA256 = {
    "train.bin": "f31298fc616915fa142368359df1c4ca2ae984d6915ca468b998a5ec6aeebf29",
    "test.bin": "d8b1e6b7b3bee4020055f0699b111f60b1af1e262aeb93a0b659061746f8224a",
}
CIFAR100_PYTHON_MD5 = {
    "train": "16019d7e3df5f24257cddd939b257f8d",
    "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
    "meta": "7973b15100ade9c7d40fb424638fde48",
}


@dataclass(frozen=True)
class CifarFormat:
    """A published file format of a data set, read with one kind of labels (classes or superclasses).

    Args:
        data_set: Name of the data set.
        folder: Name of the folder in its archive.
        batches: Names of the files of each split, in order.
        names_file: Name of the file with the class names.
        class_names: Class names if that file is missing.
        algorithm: Hash algorithm of the digests.
        digests: Digests of the official files, by file name.
        parse: Function from the bytes of a batch, and the file's name for messages, to pixels and labels.
        parse_names: Function from the bytes of the file with the class names, and its name for messages, to the names.
    """

    data_set: str
    folder: str
    batches: Mapping[Split, tuple[str, ...]]
    names_file: str
    class_names: tuple[str, ...]
    algorithm: Literal["sha256", "md5"]
    digests: Mapping[str, str]
    parse: Callable[[bytes, str], Batch]
    parse_names: Callable[[bytes, str], list[str]]


def parse_binary(
    content: bytes, source: str, num_classes: int, num_label_bytes: int = 1, label_index: int = 0
) -> Batch:
    """Read records: the label bytes, then 1,024 red, 1,024 green and 1,024 blue bytes, row by row.

    Args:
        content: Content of the whole file.
        source: Name of the file, for messages.
        num_classes: Number of classes; all labels must be smaller.
        num_label_bytes: Number of label bytes in each record.
        label_index: Index of the label byte to use.

    Returns:
        Pixels, uint8 [n 3 32 32], and labels, uint8 [n].

    Raises:
        DataError: The file is malformed; the message names it and the offset.
    """
    record_bytes = num_label_bytes + PIXEL_BYTES
    if len(content) % record_bytes:
        raise DataError(
            f"{source}: ends inside a record at byte {len(content)} (records are {record_bytes} bytes). "
            "Restore the official file."
        )
    records = np.frombuffer(content, dtype=np.uint8).reshape(-1, record_bytes)
    labels = records[:, label_index]
    wrong = np.flatnonzero(labels >= num_classes)
    if len(wrong):
        offset = wrong[0] * record_bytes + label_index
        raise DataError(
            f"{source}: label {labels[wrong[0]]} at byte {offset}; labels are 0 to {num_classes - 1}. "
            "Restore the official file."
        )
    return records[:, num_label_bytes:].reshape(-1, 3, SIDE_PX, SIDE_PX), labels


def parse_binary_names(content: bytes, source: str) -> list[str]:
    """Read a text file with one name per line.

    Raises:
        DataError: The file is not ASCII.
    """
    try:
        return content.decode("ascii").split()
    except UnicodeDecodeError as error:
        raise DataError(f"{source}: not text at byte {error.start}. Restore the official file.") from error


def parse_python(content: bytes, source: str, num_classes: int, key: str = "labels") -> Batch:
    """Read a pickled batch: a dictionary of an array of pixels and lists of labels; nothing in it is executed.

    Args:
        content: Content of the whole file.
        source: Name of the file, for messages.
        num_classes: Number of classes; all labels must be smaller.
        key: Key of the list of labels.

    Returns:
        Pixels, uint8 [n 3 32 32], and labels, uint8 [n].

    Raises:
        DataError: The file is malformed; the message names it and the offset.
    """
    found = read_pickled_dict(content, source)
    pixels, labels = found.get(b"data"), found.get(key.encode())
    if not isinstance(pixels, np.ndarray) or pixels.ndim != 2 or pixels.shape[1] != PIXEL_BYTES:
        raise DataError(
            f"{source}: ends at byte {len(content)} without 'data' as an array of {PIXEL_BYTES} bytes a row. "
            "Restore the official file."
        )
    if not isinstance(labels, list) or len(labels) != len(pixels):
        raise DataError(
            f"{source}: ends at byte {len(content)} without '{key}' as a list of {len(pixels)}, one for each image. "
            "Restore the official file."
        )
    for position, label in enumerate(labels):
        if type(label) is not int or not 0 <= label < num_classes:
            shown = label if type(label) is int else f"of type {type(label).__name__}"
            raise DataError(
                f"{source}: label {shown} at position {position} of '{key}'; labels are 0 to {num_classes - 1}. "
                "Restore the official file."
            )
    return pixels.reshape(-1, 3, SIDE_PX, SIDE_PX), np.array(labels, dtype=np.uint8)


def parse_python_names(content: bytes, source: str, key: str = "label_names") -> list[str]:
    """Read the names under one key of a pickled dictionary.

    Raises:
        DataError: The file is malformed, or a name is not ASCII.
    """
    names = read_pickled_dict(content, source).get(key.encode())
    if not isinstance(names, list) or not all(isinstance(name, bytes) for name in names):
        raise DataError(
            f"{source}: ends at byte {len(content)} without '{key}', a list of names. Restore the official file."
        )
    for position, name in enumerate(names):
        if not name.isascii():
            raise DataError(
                f"{source}: the name at position {position} of '{key}' is not ASCII text. Restore the official file."
            )
    return [name.decode("ascii") for name in names]


def _cifar10() -> tuple[CifarFormat, CifarFormat]:
    numbers, count = range(1, 6), len(CIFAR10_CLASSES)
    binary = CifarFormat(
        data_set="CIFAR-10",
        folder="cifar-10-batches-bin",
        batches={"train": tuple(f"data_batch_{i}.bin" for i in numbers), "test": ("test_batch.bin",)},
        names_file="batches.meta.txt",
        class_names=CIFAR10_CLASSES,
        algorithm="sha256",
        digests=BINARY_SHA256,
        parse=partial(parse_binary, num_classes=count),
        parse_names=parse_binary_names,
    )
    python = CifarFormat(
        data_set="CIFAR-10",
        folder="cifar-10-batches-py",
        batches={"train": tuple(f"data_batch_{i}" for i in numbers), "test": ("test_batch",)},
        names_file="batches.meta",
        class_names=CIFAR10_CLASSES,
        algorithm="md5",
        digests=PYTHON_MD5,
        parse=partial(parse_python, num_classes=count),
        parse_names=parse_python_names,
    )
    return binary, python


def _cifar100(kind: Literal["fine", "coarse"], class_names: tuple[str, ...]) -> tuple[CifarFormat, CifarFormat]:
    """Return the formats of CIFAR-100 with its classes (fine) or superclasses (coarse, the first byte of a record)."""
    binary = CifarFormat(
        data_set="CIFAR-100",
        folder="cifar-100-binary",
        batches={"train": ("train.bin",), "test": ("test.bin",)},
        names_file=f"{kind}_label_names.txt",
        class_names=class_names,
        algorithm="sha256",
        digests=CIFAR100_BINARY_SHA256,
        parse=partial(parse_binary, num_classes=len(class_names), num_label_bytes=2, label_index=int(kind == "fine")),
        parse_names=parse_binary_names,
    )
    python = CifarFormat(
        data_set="CIFAR-100",
        folder="cifar-100-python",
        batches={"train": ("train",), "test": ("test",)},
        names_file="meta",
        class_names=class_names,
        algorithm="md5",
        digests=CIFAR100_PYTHON_MD5,
        parse=partial(parse_python, num_classes=len(class_names), key=f"{kind}_labels"),
        parse_names=partial(parse_python_names, key=f"{kind}_label_names"),
    )
    return binary, python


CIFAR10 = _cifar10()
CIFAR100 = _cifar100("fine", CIFAR100_CLASSES)
CIFAR100_COARSE = _cifar100("coarse", CIFAR100_SUPERCLASSES)
