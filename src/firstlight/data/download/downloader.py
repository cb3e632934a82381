"""Download data sets from their official servers or mirrors, and verify them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from firstlight.data.download.archives import find_difference, sha256_of, unpack
from firstlight.data.download.http import RetryPolicy, TransferError, bytes_in, transfer
from firstlight.data.download.manifest import MANIFEST, Archive, Manifest, Version
from firstlight.data.download.parquet import rebuild
from firstlight.data.download.progress import Progress, show_progress
from firstlight.errors import DataError, MissingPackageError, UsageError
from firstlight.file_lock import locked
from firstlight.paths import OFFLINE, is_offline, user_path


def free_bytes(folder: Path) -> int:
    """Return the number of free bytes on the disk of a folder."""
    return shutil.disk_usage(folder).free


@dataclass(frozen=True)
class Downloader:
    """Downloads data sets.

    Args:
        manifest: Archives of each data set, with their addresses and digests.
        retry_policy: Number and timing of the attempts to download from an address.
        free_bytes: Function that returns the number of free bytes for a folder.
        show_progress: Function that opens a progress display for a file name.
        environment: Environment variables, of which `FIRSTLIGHT_OFFLINE` is read.
    """

    manifest: Manifest = field(default_factory=lambda: MANIFEST)
    retry_policy: RetryPolicy = RetryPolicy()
    free_bytes: Callable[[Path], int] = free_bytes
    show_progress: Callable[[str], Progress] = show_progress
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def download(self, name: str, data_dir: Path | str, version: Version | None = None) -> Path:
        """Return the folder of a data set in `data_dir`; download it first if it is missing.

        The archives and their addresses are tried in the order of the manifest. An archive that the user has put into
        `data_dir` is used instead of a download. Where no address has an archive, the files are rebuilt from parquet
        files if the manifest names any. If several processes need the same data set, one downloads it and the others
        wait.

        Args:
            name: Name of the data set.
            data_dir: Folder of the data sets.
            version: The only version to use; None for any; "parquet" rebuilds the binary version from parquet files.

        Raises:
            UsageError: No data set has that name, or the data set does not have that version.
            DataError: The download failed. The message says in one line what was tried and what to do.
        """
        archives = self._archives(name, version)
        data_dir = user_path(data_dir)
        with _disk_errors(name, data_dir):
            return self._find_or_fetch(name, archives, data_dir, from_parquet=version == "parquet")

    def _find_or_fetch(self, name: str, archives: tuple[Archive, ...], data_dir: Path, *, from_parquet: bool) -> Path:
        found = find_unpacked(archives, data_dir)
        if found is not None:
            return found[1]
        placed = tuple(each for each in archives if (data_dir / each.name).exists())
        if not placed and is_offline(self.environment):
            expected = " or ".join(str(data_dir / each.folder) for each in archives)
            why = f"expected {expected}, and {OFFLINE} forbids downloading it"
            raise DataError(f"no {name} in {data_dir}: {why}. {_alternatives(archives, data_dir)}")
        tried: list[str] = []
        for number, archive in enumerate(() if from_parquet else placed or archives):
            folder = self._fetch(archive, archives, data_dir, tried)
            if folder is not None:
                for failed in archives[:number]:  # partial downloads of the others are no longer needed
                    _part_of(failed, data_dir).unlink(missing_ok=True)
                return folder
        for archive in archives if from_parquet or not placed else ():
            folder = self._fetch_parquet(archive, data_dir, tried) if archive.parquet else None
            if folder is not None:
                return folder
        why = f"{'; '.join(tried)}. Try again later (the download resumes where it stopped)"
        raise DataError(f"cannot get {name}: {why}. {_alternatives(archives, data_dir)}")

    def verify(self, name: str, data_dir: Path | str, version: Version | None = None) -> None:
        """Compare the unpacked files with the official ones, as far as their digests are known.

        Raises:
            DataError: The data set is missing, or a file differs; the message names it.
        """
        archives = self._archives(name, version)
        data_dir = user_path(data_dir)
        found = find_unpacked(archives, data_dir)
        if found is None:
            raise DataError(f"no {name} in {data_dir}. {_alternatives(archives, data_dir)}")
        archive, folder = found
        difference = find_difference(archive, folder)
        if difference is not None:
            raise DataError(f"{folder}: {difference}. Move this folder away to download the official files.")

    def fetch_missing(self, name: str, data_dir: Path | str) -> None:
        """Download a data set if the manifest has it and it is missing; existing files are left unchanged.

        Raises:
            DataError: The download failed. The message says in one line what was tried and what to do.
        """
        if name in self.manifest:
            self.download(name, data_dir)

    def _archives(self, name: str, version: Version | None) -> tuple[Archive, ...]:
        if name not in self.manifest:
            raise UsageError(
                f"no data set that can be downloaded is called {name!r}: choose one of {', '.join(self.manifest)}"
            )
        archives = tuple(
            each
            for each in self.manifest[name]
            if version in (None, each.version) or (version == "parquet" and each.parquet)
        )
        if not archives:
            versions = ", ".join(each.version for each in self.manifest[name])
            raise UsageError(f"{name} has no {version} version: choose one of {versions}")
        return archives

    def _fetch(self, archive: Archive, archives: tuple[Archive, ...], data_dir: Path, tried: list[str]) -> Path | None:
        """Return the archive's folder; if the download fails, return None and add the reason to `tried`."""
        path = data_dir / archive.name
        data_dir.mkdir(parents=True, exist_ok=True)
        with (
            self.show_progress(archive.name) as progress,
            locked(
                data_dir / f".{archive.name}.lock",
                lambda: progress.note("waiting for another process that downloads it"),
            ),
        ):
            found = find_unpacked(archives, data_dir)
            if found is not None:  # another process was faster
                return found[1]
            if path.exists():
                _refuse_unofficial(archive, path)
                return unpack(archive, path, data_dir)
            if not self._download_archive(archive, path, progress, tried):
                return None
            folder = None
            try:
                folder = unpack(archive, path, data_dir)
            except DataError as error:
                tried.append(str(error))
            path.unlink()
            return folder

    def _fetch_parquet(self, archive: Archive, data_dir: Path, tried: list[str]) -> Path | None:
        """Rebuild the archive's folder from parquet files; if that fails, return None and add the reason to `tried`."""
        parts = [data_dir / f"{archive.folder}-{url.rpartition('/')[2]}.part" for url in archive.parquet]
        data_dir.mkdir(parents=True, exist_ok=True)
        with (
            self.show_progress(f"{archive.folder} from parquet files") as progress,
            locked(data_dir / f".{archive.folder}.lock", lambda: progress.note("waiting for another process")),
        ):
            if (data_dir / archive.folder).exists():  # another process was faster
                return data_dir / archive.folder
            self._refuse_full_disk(archive, parts[0])
            for url, part in zip(archive.parquet, parts, strict=True):
                progress.note(f"downloading {url}")
                try:
                    transfer(url, part, None, self.retry_policy, progress.update)
                except TransferError as error:
                    tried.append(f"{url}: {error}")
                    return None
            folder = None
            try:
                folder = rebuild(archive, parts, data_dir)
            except MissingPackageError as error:  # the downloaded files stay for the next attempt
                tried.append(str(error))
                return None
            except DataError as error:
                tried.append(str(error))
            for part in parts:  # no later attempt may continue files that are done or wrong
                part.unlink()
            return folder

    def _download_archive(self, archive: Archive, path: Path, progress: Progress, tried: list[str]) -> bool:
        """Download the archive to `path` from the first address that has it; return False if no address has it."""
        part = _part_of(archive, path.parent)
        if archive.sha256 is None:  # a partial download could not be verified
            part.unlink(missing_ok=True)
        self._refuse_full_disk(archive, part)
        for url in archive.urls:
            progress.note(f"downloading {url}")
            try:
                self._download_from(url, archive, part, progress)
            except TransferError as error:
                tried.append(f"{url}: {error}")
                progress.note(f"{url}: {error}")
                continue
            _flush_to_disk(part)
            part.replace(path)
            return True
        return False

    def _download_from(self, url: str, archive: Archive, part: Path, progress: Progress) -> None:
        """Download the official bytes into `part`; raise TransferError if that fails."""
        was_begun = bytes_in(part) > 0
        transfer(url, part, archive.size, self.retry_policy, progress.update)
        if archive.sha256 is not None and sha256_of(part) != archive.sha256:
            part.unlink()
            if not was_begun:
                raise TransferError("sends other bytes than the official ones (sha256 differs)")
            progress.note("the partial file is not the beginning of the official file: starting again")
            self._download_from(url, archive, part, progress)

    def _refuse_full_disk(self, archive: Archive, part: Path) -> None:
        rest = max(0, (archive.size or archive.unpacked_bytes) - bytes_in(part))
        needed, free = rest + archive.unpacked_bytes, self.free_bytes(part.parent)
        if free < needed:
            raise DataError(
                f"{part.parent}: {needed / 1e6:,.1f} MB are needed for {archive.name}, {free / 1e6:,.1f} MB are free. "
                "Free space, choose another --data_dir, or use the embedded data (--data drawn)."
            )


def download(name: str, data_dir: Path | str, version: Version | None = None) -> Path:
    """Return the folder of a data set in `data_dir`; download it first if it is missing. See `Downloader.download`."""
    return Downloader().download(name, data_dir, version)


def fetch_missing(name: str, data_dir: Path | str) -> None:
    """Download a data set if the manifest has it and it is missing. See `Downloader.fetch_missing`."""
    Downloader().fetch_missing(name, data_dir)


def find_unpacked(archives: tuple[Archive, ...], data_dir: Path) -> tuple[Archive, Path] | None:
    """Return the unpacked archive and its folder, in `data_dir` or `data_dir` itself; the files are not verified."""
    for archive in archives:
        if (data_dir / archive.folder).exists():
            return archive, data_dir / archive.folder
    for archive in archives:
        is_named_so = data_dir.name == archive.folder and data_dir.exists()
        if is_named_so or any((data_dir / name).is_file() for name in archive.members):
            return archive, data_dir
    return None


def is_missing(name: str, data_dir: Path | str) -> bool:
    """Whether a data set can be downloaded and no part of it is in `data_dir`."""
    archives, data_dir = MANIFEST.get(name, ()), user_path(data_dir)
    packed = [path for each in archives for path in (data_dir / each.name, _part_of(each, data_dir))]
    return bool(archives) and find_unpacked(archives, data_dir) is None and not any(path.exists() for path in packed)


def _part_of(archive: Archive, data_dir: Path) -> Path:
    """Return the path of the partial download of an archive."""
    return data_dir / f"{archive.name}.part"


def _refuse_unofficial(archive: Archive, path: Path) -> None:
    if archive.sha256 is not None and sha256_of(path) != archive.sha256:
        raise DataError(f"{path}: not the official archive (sha256 differs). Remove it to download the official one.")


def _alternatives(archives: tuple[Archive, ...], data_dir: Path) -> str:
    names = " or ".join(archive.name for archive in archives)
    return (
        f"Put {names} into {data_dir}, name a folder that has the data with --data_dir, or use the embedded data "
        "(--data drawn)."
    )


@contextmanager
def _disk_errors(name: str, data_dir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"cannot keep {name} in {data_dir}: {error.strerror or error}. Free space or choose another --data_dir "
            "(downloaded bytes are kept), or use the embedded data (--data drawn)."
        ) from error


def _flush_to_disk(path: Path) -> None:
    with path.open("r+b") as file:
        os.fsync(file.fileno())
