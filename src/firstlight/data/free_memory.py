"""Memory that this process can still take: of the machine, of its control group, and below its resource limits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from firstlight.errors import DataError, UsageError
from firstlight.paths import IMAGE_MEMORY

SHARE = 1 / 3  # of the free memory that one split may take: splitting off validation images copies it once more
_UNLIMITED = 2**60  # control groups of version 1 write a number of this size


def fits_in_memory(num_bytes: int) -> bool:
    """Return whether the images of a split stay in memory; larger ones are read from their file, batch by batch.

    The limit is a third of the free memory, or the value of `FIRSTLIGHT_IMAGE_MEMORY_GB`.

    Args:
        num_bytes: Size of the decoded images.

    Raises:
        UsageError: `FIRSTLIGHT_IMAGE_MEMORY_GB` is not a number.
    """
    named = os.environ.get(IMAGE_MEMORY)
    if not named:
        return num_bytes <= SHARE * free_memory_bytes() / num_local_processes()
    try:
        return num_bytes <= float(named) * 1e9
    except ValueError as error:
        raise UsageError(f"{IMAGE_MEMORY} must be a number of gigabytes, not {named!r}") from error


def refuse_too_large(num_bytes: int, what: str) -> None:
    """Raise DataError if images do not fit into the free memory.

    Args:
        num_bytes: Memory that they need.
        what: The images, for the message.
    """
    free_bytes = free_memory_bytes()
    if num_bytes > free_bytes:
        raise DataError(
            f"{what}: this command needs {num_bytes / 1e9:,.1f} GB of memory for them, and {free_bytes / 1e9:,.1f} GB "
            "are free. Use fewer images, a smaller --image_size, or a larger machine."
        )


def free_memory_bytes() -> int:
    """Return the number of bytes that this process can still take; a very large number if the system does not say."""
    return max(0, min([_UNLIMITED, *_machine(), *_control_groups(), *_resource_limits()]))


def num_local_processes() -> int:
    """Return the number of processes of a distributed training that share this machine's memory."""
    named = os.environ.get("LOCAL_WORLD_SIZE") or os.environ.get("WORLD_SIZE", "")
    return max(1, int(named)) if named.isdigit() else 1


def _machine() -> Iterator[int]:
    """Yield the memory that the machine can free without swapping."""
    kilobytes = _fields(Path("/proc/meminfo")).get("MemAvailable")
    if kilobytes is not None:
        yield kilobytes * 1024
        return
    try:
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, OSError, ValueError):  # not a POSIX system
        return


def _control_groups() -> Iterator[int]:
    """Yield what is left in the control group of this process and in those above it (Linux, version 2)."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    group = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
    root = Path("/sys/fs/cgroup")
    for folder in (root / group, *(root / group).parents):
        if not folder.is_relative_to(root):
            return
        try:
            limit, used = (
                (folder / name).read_text(encoding="utf-8").strip() for name in ("memory.max", "memory.current")
            )
        except OSError:  # no limit here
            continue
        if limit.isdigit():
            cached = _fields(folder / "memory.stat").get("file", 0)  # the system drops these pages when it needs to
            yield int(limit) - int(used) + cached


def _resource_limits() -> Iterator[int]:
    """Yield what `ulimit -d` and `ulimit -v` leave."""
    try:
        import resource
    except ImportError:  # not a POSIX system
        return
    used = _fields(Path("/proc/self/status"))
    for limit, field in ((resource.RLIMIT_DATA, "VmData"), (resource.RLIMIT_AS, "VmSize")):
        soft, _ = resource.getrlimit(limit)
        if soft != resource.RLIM_INFINITY:
            yield soft - used.get(field, 0) * 1024


def _fields(path: Path) -> dict[str, int]:
    """Return the numbers in a file of lines such as `MemFree: 12 kB`; none if it cannot be read."""
    try:
        rows = [line.replace(":", " ").split() for line in path.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return {}
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}
