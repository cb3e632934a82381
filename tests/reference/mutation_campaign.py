"""Reads thousands of damaged files of one kind in a separate process, without the tests' type checks.

    python mutation_campaign.py KIND COUNT SEED FOLDER

It prints JSON: how many were read, how many refused in one line, and every case that ended in anything else: another
error, a message of several lines, more than its seconds, something written outside of the folder. The process cannot
have more memory than a limit allows; a call that never returns ends it.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gzip
import io
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import tarfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from PIL import Image

from firstlight.data.cifar import read_cifar10, read_cifar100
from firstlight.data.cifar_formats import CIFAR10_CLASSES, CIFAR100_CLASSES, CIFAR100_SUPERCLASSES
from firstlight.data.download.archives import unpack
from firstlight.data.download.manifest import Archive, Member
from firstlight.data.source import open_source
from firstlight.errors import FirstlightError
from firstlight.runs.run import load
from reference import batch_files, cifar100_files
from reference.archive_files import FOLDER, official_entries, official_files, packed
from reference.made_run import make_run
from reference.mutations import mutated

CASE_S = 20  # far more than needed, even on a busy machine
EXTRA_MEMORY_BYTES = 1 << 30
DECODER = "firstlight.data.decoder_process"
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

Case = Callable[[random.Random], None]  # raises FirstlightError if it refuses


class _TooLongError(BaseException):
    """Not an Exception, so that no reader of files catches it."""


def binary(folder: Path, read: Callable[[Path], Any], name: str, content: bytes, names: dict[str, bytes]) -> Case:
    """A batch or the file of names is damaged."""
    batch = folder / name
    batch.parent.mkdir(parents=True)
    files = {batch: content} | {batch.parent / meta_name: text for meta_name, text in names.items()}

    def case(chance: random.Random) -> None:
        victim = batch if chance.random() < 0.8 else chance.choice(list(files))
        for path, whole in files.items():
            path.write_bytes(mutated(whole, chance) if path == victim else whole)
        read(folder)

    return case


def cifar10(folder: Path, form: str) -> Case:
    """CIFAR-10's test split, small."""
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, 32, 32), dtype=np.uint8)
    names = [name.encode() for name in CIFAR10_CLASSES]
    if form == "binary":
        content, meta = batch_files.binary_batch(pixels, [3, 0, 9]), {"batches.meta.txt": b"\n".join(names)}
        name = "cifar-10-batches-bin/test_batch.bin"
    else:
        content, meta = batch_files.python_batch(pixels, [3, 0, 9]), {"batches.meta": batch_files.python_meta(names)}
        name = "cifar-10-batches-py/test_batch"
    return binary(folder, lambda path: read_cifar10(path, "test"), name, content, meta)


def cifar100(folder: Path, form: str) -> Case:
    """CIFAR-100's test split, small, with either labelling."""
    files = cifar100_files.files_of(form, CIFAR100_CLASSES, CIFAR100_SUPERCLASSES, num_train=1, num_test=3)
    name = "test.bin" if form == "binary" else "test"
    content = files.pop(name)

    def read(path: Path) -> None:
        read_cifar100(path, "test")
        read_cifar100(path, "test", coarse=True)

    names = {each: text for each, text in files.items() if not each.startswith("train")}
    return binary(folder, read, f"cifar-100-{form}/{name}", content, names)


def archives(folder: Path) -> Case:
    """A tar.gz, damaged before or after it is compressed."""
    members = {name: Member(max(10_000, len(each))) for name, each in official_files().items()}
    whole = packed(*official_entries())
    tar = gzip.decompress(whole)
    with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
        headers = [entry.offset for entry in opened]

    def case(chance: random.Random) -> None:
        content = mutated(whole, chance)
        if chance.random() < 0.8:
            content = gzip.compress(_mutated_tar(tar, headers, chance), 1)
        path = folder / "small.tar.gz"
        path.write_bytes(content)
        archive = Archive(path.name, "binary", (), len(content), None, FOLDER, members)
        try:
            unpacked = unpack(archive, path, folder)
            assert sorted(os.listdir(unpacked)) == sorted(members), "not whole"
            shutil.rmtree(unpacked)
        finally:
            assert os.listdir(folder) == ["small.tar.gz"], "something is left behind"

    return case


def _mutated_tar(tar: bytes, headers: list[int], chance: random.Random) -> bytes:
    """Damage headers, mostly with corrected checksums; otherwise only the checksum would be tested."""
    if chance.random() < 0.3:
        return mutated(tar, chance, skeleton_bytes=2048)
    damaged = bytearray(tar)
    for _ in range(chance.randint(1, 3)):
        header = chance.choice(headers)
        block = bytearray(mutated(bytes(damaged[header : header + 512]), chance)[:512].ljust(512, b"\0"))
        if chance.random() < 0.8:
            block[148:156] = b" " * 8
            block[148:156] = b"%06o\0 " % sum(block)
        damaged[header : header + 512] = block
    return bytes(damaged)


def weights(folder: Path) -> Case:
    """A run's `model.safetensors`: loaded, and asked what is on a picture."""
    make_run(folder)
    whole = _sorted_header((folder / "model.safetensors").read_bytes())
    header_bytes = 8 + int.from_bytes(whole[:8], "little")
    picture = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)

    def case(chance: random.Random) -> None:
        if chance.random() < 0.5:
            content = mutated(whole, chance, skeleton_bytes=header_bytes)
        else:
            header = _with_another_value(whole[8:header_bytes], chance)
            content = len(header).to_bytes(8, "little") + header + whole[header_bytes:]
        (folder / "model.safetensors").write_bytes(content)
        load(folder).predict(picture)

    return case


def _sorted_header(content: bytes) -> bytes:
    """The file with its header in alphabetical order: the library's differs from run to run."""
    header_bytes = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + header_bytes])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items(), key=lambda item: (item[0] == "recipe", item)))
    written = json.dumps(dict(sorted(header.items()))).encode()
    return len(written).to_bytes(8, "little") + written + content[8 + header_bytes :]


def _with_another_value(header: bytes, chance: random.Random) -> bytes:
    """Replace one to three numbers or words of a header, which usually stays well formed."""
    others = (b"0", b"1", b"-1", b"7", b"16", b"99999999", b"1e99", b"null", b"", b"[]", b"F64", b"I8")
    end = header.index(b"recipe") if chance.random() < 0.7 else len(header)  # what the run itself reads comes first
    for _ in range(chance.randint(1, 2)):
        token = chance.choice(list(re.finditer(rb"[-0-9.]+|[A-Za-z_0-9]+", header[:end])))
        other = chance.choice(others)
        header = header[: token.start()] + other + header[token.end() :]
    return header


def images(folder: Path) -> Case:
    """A folder of two classes, in every format, one file damaged."""
    pictures = _pictures()
    photos = folder / "photos"
    for number, (name, content) in enumerate(pictures.items()):
        for split in ("train", "test"):
            path = photos / split / ("cat" if number % 2 else "dog") / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    os.environ["FIRSTLIGHT_CACHE"] = str(folder / "cache")

    def case(chance: random.Random) -> None:
        name = chance.choice(list(pictures))
        path = next(photos.glob(f"train/*/{name}"))
        path.write_bytes(mutated(pictures[name], chance, skeleton_bytes=200))
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            try:
                open_source("folder", photos, image_size=32).train()
            except UserWarning as warning:  # the reader of a folder refuses a single file in this way
                raise FirstlightError(str(warning)) from warning
            finally:
                path.write_bytes(pictures[name])

    return case


def _pictures() -> dict[str, bytes]:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 6
    frames = [image.convert("P"), image.rotate(90).convert("P")]
    made: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "a.jpg": (image, {"exif": exif}),
        "progressive.jpeg": (image, {"progressive": True}),
        "print.jpg": (image.convert("CMYK"), {}),
        "a.png": (image, {}),
        "clear.png": (image.convert("RGBA"), {"exif": exif}),
        "palette.png": (image.convert("P"), {"transparency": 3}),
        "deep.png": (Image.fromarray(pixels[:, :, 0].astype(np.uint16) * 257), {}),
        "moving.gif": (frames[0], {"save_all": True, "append_images": frames[1:]}),
        "a.webp": (image, {"exif": exif}),
        "lossless.webp": (image.convert("RGBA"), {"lossless": True}),
        "a.bmp": (image, {}),
        "a.tif": (image, {}),
        "packed.tiff": (image, {"compression": "tiff_lzw"}),
        "float.tiff": (Image.fromarray(pixels[:, :, 0] / np.float32(255)), {}),
        "a.ppm": (image, {}),
    }
    contents = {}
    for name, (picture, options) in made.items():
        stream = io.BytesIO()
        picture.save(stream, format=Image.registered_extensions()[Path(name).suffix], **options)
        contents[name] = stream.getvalue()
    return contents


def kept_images(folder: Path) -> Case:
    """The cache file of a folder's decoded images."""
    photos = folder / "photos"
    for number in range(6):
        path = photos / ("cat" if number % 2 else "dog") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (number * 40, 0, 0)).save(path)
    os.environ["FIRSTLIGHT_CACHE"] = str(folder / "cache")
    expected = open_source("folder", photos, image_size=32).train().digest()
    (path,) = (folder / "cache" / "folders").glob("*.images")
    whole = path.read_bytes()

    def case(chance: random.Random) -> None:
        path.write_bytes(mutated(whole, chance, skeleton_bytes=600))
        assert open_source("folder", photos, image_size=32).train().digest() == expected, "a damaged cache was believed"

    return case


KINDS: dict[str, Callable[[Path], Case]] = {
    "binary batches of CIFAR-10": lambda folder: cifar10(folder, "binary"),
    "binary batches of CIFAR-100": lambda folder: cifar100(folder, "binary"),
    "pickled batches of CIFAR-10": lambda folder: cifar10(folder, "python"),
    "pickled batches of CIFAR-100": lambda folder: cifar100(folder, "python"),
    "archives": archives,
    "weights": weights,
    "images in a folder": images,
    "kept images": kept_images,
}


def main(kind: str, count: int, seed: int, folder: Path) -> dict[str, Any]:
    """Run the cases and return their outcomes."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    folder = folder.resolve()
    case = KINDS[kind](folder)
    written = _watch_writing(folder)
    found: dict[str, Any] = {"read": 0, "refused": 0, "failures": []}
    _limit_memory()
    before_kb, started_s = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    for number in range(count):
        problem = _run_case(case, random.Random(f"{seed}/{kind}/{number}"), found)
        if written:
            problem = f"{problem or ''} written outside: {written}"
            written.clear()
        if problem:
            found["failures"].append({"number": number, "problem": problem})
    found["seconds"] = round(time.perf_counter() - started_s, 1)
    found["more_memory_mb"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) // 1024
    return found


def _run_case(case: Case, chance: random.Random, found: dict[str, Any]) -> str | None:
    """Return what is wrong with the outcome of a case, or nothing."""
    try:
        with _limited_time():
            case(chance)
        found["read"] += 1
    except FirstlightError as error:
        found["refused"] += 1
        if len(str(error).splitlines()) != 1 or len(str(error)) > 2000:
            return f"not one line: {str(error)[:500]!r}"
    except _TooLongError:
        return "too long: " + traceback.format_exc()
    except Exception:
        return traceback.format_exc()
    return None


@contextlib.contextmanager
def _limited_time() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise _TooLongError

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(CASE_S)
    faulthandler.dump_traceback_later(3 * CASE_S, exit=True)  # for a call that Python cannot interrupt
    try:
        yield
    finally:
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + EXTRA_MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _watch_writing(folder: Path) -> list[str]:
    """Return a list that collects every later change of the disk outside of the folder."""
    written: list[str] = []

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        changed: list[tuple[Any, int]] = []  # a path, and the descriptor of the folder that it is relative to
        if event == "open":
            path, mode, flags = arguments
            if flags & WRITING if isinstance(flags, int) else any(letter in (mode or "") for letter in "wax+"):
                changed = [(path, -1)]
        elif event == "os.rename":
            changed = [(arguments[0], arguments[2]), (arguments[1], arguments[3])]
        elif event in ("os.mkdir", "os.remove", "os.rmdir", "os.symlink", "os.link", "os.chmod", "os.utime"):
            changed = [(arguments[int(event in ("os.symlink", "os.link"))], arguments[-1])]
        elif event in ("os.truncate", "os.chown", "os.mkfifo"):
            changed = [(arguments[0], -1)]
        elif event == "subprocess.Popen" and DECODER in arguments[1]:
            pass  # pictures that may take long are decoded in a process of their own
        elif event in ("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.fork", "socket.connect"):
            written.append(f"{event} {arguments!r}"[:300])
        for target, descriptor in changed:
            if isinstance(target, str | bytes | os.PathLike):
                base = os.readlink(f"/proc/self/fd/{descriptor}") if descriptor >= 0 else os.getcwd()
                path = os.path.normpath(os.path.join(base, os.fsdecode(target)))
                if not path.startswith(f"{folder}/") and path not in (str(folder), os.devnull):
                    written.append(f"{event} {path}"[:300])

    sys.addaudithook(watch)
    return written


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))))
