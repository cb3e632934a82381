"""Downloads from a faulty server: each succeeds or ends with one clear line, and no partial data set remains."""

from __future__ import annotations

import multiprocessing
import os
import re
import resource
import socket
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from firstlight.data.download import http as transfer_module
from firstlight.data.download.downloader import Downloader
from firstlight.data.download.http import RetryPolicy, TransferError, transfer
from firstlight.data.download.manifest import Archive
from firstlight.data.download.progress import ProgressBar, ProgressLines, show_progress
from firstlight.errors import DataError, UsageError
from firstlight.file_lock import locked
from reference.archive_files import FOLDER, archive_of, official_entries, official_files, packed, special
from reference.fault_server import FaultServer

CONTENT = packed(*official_entries())
HALF = len(CONTENT) // 2
NAME = "cifar-10-binary.tar.gz"
FAST = {"stall_s": 0.15, "num_retries": 2, "backoff_s": 1.0}


@pytest.fixture(scope="module")
def shared_server() -> Iterator[FaultServer]:
    with FaultServer(CONTENT) as server:
        yield server


@pytest.fixture
def server(shared_server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> FaultServer:
    """The server in its initial state, reached without a proxy."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    shared_server.requests.clear()
    shared_server.content, shared_server.tag = CONTENT, '"v1"'
    return shared_server


@pytest.fixture
def sleeps() -> list[float]:
    """The recorded pauses."""
    return []


@pytest.fixture
def retries(sleeps: list[float]) -> RetryPolicy:
    return RetryPolicy(sleep=sleeps.append, **FAST)  # type: ignore[arg-type]


def downloader(retries: RetryPolicy, *archives: Archive, free: int = 10**9, **environment: str) -> Downloader:
    return Downloader(
        manifest={"small": archives},
        retry_policy=retries,
        free_bytes=lambda _: free,
        show_progress=lambda name: ProgressLines(name, lambda _: None),
        environment=environment,
    )


def refusal(fetcher: Downloader, place: Path) -> str:
    """Return the message of a failed download; check that it is one line that says what to do."""
    with pytest.raises(DataError) as refused:
        fetcher.download("small", place)
    message = str(refused.value)
    assert message.isprintable()
    assert "--data drawn" in message
    assert "--data_dir" in message
    return message


def assert_whole(place: Path) -> None:
    """Check that exactly the official files exist."""
    assert os.listdir(place) == [FOLDER]
    assert {path.name: path.read_bytes() for path in (place / FOLDER).iterdir()} == official_files()


def assert_nothing_but_a_part(place: Path) -> None:
    """Check that at most a partial archive remains."""
    assert set(os.listdir(place)) <= {f"{NAME}.part"}
    if os.listdir(place):
        assert CONTENT.startswith((place / f"{NAME}.part").read_bytes())


# downloads that succeed


@pytest.mark.parametrize(
    "fault",
    ["none", "cut-once", "stall-once", "500-once", "silent-once", "unsaid", "redirect", "norange", "otherrange"],
)
def test_the_download_succeeds(fault: str, server: FaultServer, retries: RetryPolicy, tmp_path: Path) -> None:
    folder = downloader(retries, archive_of(CONTENT, server.url(fault))).download("small", tmp_path / "new" / "data")
    assert folder == tmp_path / "new" / "data" / FOLDER
    assert_whole(tmp_path / "new" / "data")


def test_a_cut_download_resumes_and_fetches_only_the_rest(
    server: FaultServer, retries: RetryPolicy, tmp_path: Path
) -> None:
    downloader(retries, archive_of(CONTENT, server.url("cut-once"))).download("small", tmp_path)
    first, second = server.requests
    assert first.range is None
    assert (second.range, second.if_range) == (f"bytes={HALF}-", '"v1"')
    assert first.num_sent + second.num_sent == len(CONTENT)


def test_the_download_of_an_earlier_process_is_resumed(
    server: FaultServer, retries: RetryPolicy, tmp_path: Path
) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT[:1000])
    downloader(retries, archive_of(CONTENT, server.url("none"))).download("small", tmp_path)
    assert [(each.range, each.num_sent) for each in server.requests] == [("bytes=1000-", len(CONTENT) - 1000)]
    assert_whole(tmp_path)


def test_a_complete_partial_file_needs_no_request(server: FaultServer, retries: RetryPolicy, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT)
    downloader(retries, archive_of(CONTENT, server.url("none"))).download("small", tmp_path)
    assert server.requests == []
    assert_whole(tmp_path)


@pytest.mark.parametrize("size", [len(CONTENT), None], ids=["size known", "size unknown"])
@pytest.mark.parametrize("part", [b"from elsewhere", CONTENT + b"more"], ids=["other bytes", "too long"])
@pytest.mark.parametrize("fault", ["none", "norange", "otherrange"])
def test_a_wrong_partial_file_is_downloaded_again(
    fault: str, part: bytes, size: int | None, server: FaultServer, retries: RetryPolicy, tmp_path: Path
) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(part)
    downloader(retries, archive_of(CONTENT, server.url(fault), size=size)).download("small", tmp_path)
    assert_whole(tmp_path)


def test_a_file_that_changes_during_the_download_is_downloaded_again(
    server: FaultServer, retries: RetryPolicy, tmp_path: Path
) -> None:
    """If-Range names the first file; the server has a new file and sends all of it."""
    with pytest.raises(TransferError):
        transfer(server.url("changing"), tmp_path / "part", None, retries)
    sent = [(each.if_range, each.num_sent) for each in server.requests]
    assert sent[:2] == [(None, HALF), ('"v1"', HALF)]  # from the start


@pytest.mark.parametrize("dead", ["404", "500", "corrupt", "longer", "shorter", "cut", "silent", "tofile"])
def test_a_dead_first_mirror_is_skipped(dead: str, server: FaultServer, retries: RetryPolicy, tmp_path: Path) -> None:
    downloader(retries, archive_of(CONTENT, server.url(dead), server.url("none"))).download("small", tmp_path)
    assert_whole(tmp_path)


def test_a_mirror_resumes_the_download_of_the_first_server(
    server: FaultServer, retries: RetryPolicy, tmp_path: Path
) -> None:
    downloader(retries, archive_of(CONTENT, server.url("cut"), server.url("none"))).download("small", tmp_path)
    assert sum(each.num_sent for each in server.requests) == len(CONTENT)
    assert_whole(tmp_path)


def test_a_refused_connection_is_not_retried(
    server: FaultServer, retries: RetryPolicy, sleeps: list[float], tmp_path: Path
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/data.tar.gz"
        downloader(retries, archive_of(CONTENT, url, server.url("none"))).download("small", tmp_path)
    assert sleeps == []
    assert_whole(tmp_path)


def test_the_next_version_is_tried_when_all_addresses_of_the_first_fail(
    server: FaultServer, retries: RetryPolicy, tmp_path: Path
) -> None:
    first = archive_of(CONTENT, server.url("cut"), name="first.tar.gz", folder="first")
    downloader(retries, first, archive_of(CONTENT, server.url("none"))).download("small", tmp_path)
    assert_whole(tmp_path)


# downloads that fail with one line

SAYS = {
    "cut": "the connection was cut at byte",
    "loop": "302 The HTTP server returned a redirect error that would lead to an infinite loop.",
    "stall": "no answer in time (3 times)",
    "silent": "no answer in time (3 times)",
    "404": "404 Not Found",
    "500": "500 Internal Server Error (3 times)",
    "longer": f"offers {len(CONTENT) + 7:,} bytes instead of {len(CONTENT):,}",
    "shorter": f"offers {len(CONTENT) - 7:,} bytes instead of {len(CONTENT):,}",
    "corrupt": "sends other bytes than the official ones (sha256 differs)",
    "tofile": "302 Found - Redirection to url 'file:///etc/passwd' is not allowed",
    "toftp": "302 redirects to an address that is not http",
    "rude": "403 no [31m way",
}


@pytest.mark.parametrize("fault", SAYS)
def test_a_failed_download_is_one_line(fault: str, server: FaultServer, retries: RetryPolicy, tmp_path: Path) -> None:
    message = refusal(downloader(retries, archive_of(CONTENT, server.url(fault))), tmp_path)
    assert f"{server.url(fault)}: {SAYS[fault]}" in message
    assert f"Put {NAME} into {tmp_path}, " in message
    assert_nothing_but_a_part(tmp_path)


def test_every_address_is_named_with_its_failure(server: FaultServer, retries: RetryPolicy, tmp_path: Path) -> None:
    other = archive_of(CONTENT, server.url("corrupt"), name="other.tar.gz", folder="other")
    fetcher = downloader(retries, archive_of(CONTENT, server.url("404"), server.url("500")), other)
    message = refusal(fetcher, tmp_path)
    assert [message.count(server.url(fault)) for fault in ("404", "500", "corrupt")] == [1, 1, 1]
    assert f"Put {NAME} or other.tar.gz into" in message


def test_pauses_double_and_the_retries_end(
    server: FaultServer, retries: RetryPolicy, sleeps: list[float], tmp_path: Path
) -> None:
    refusal(downloader(retries, archive_of(CONTENT, server.url("500"))), tmp_path)
    assert sleeps == [1.0, 2.0]
    assert len(server.requests) == 3


def test_attempts_with_progress_reset_the_count(server: FaultServer, sleeps: list[float], tmp_path: Path) -> None:
    """Every attempt brings half of the rest, so a server that often cuts connections is used to the end."""
    retries = RetryPolicy(sleep=sleeps.append, stall_s=1.0, num_retries=1, progress_bytes=100)
    with pytest.raises(TransferError, match="cut"):
        transfer(server.url("cut"), tmp_path / "part", None, retries)
    assert len(server.requests) > 8
    assert (tmp_path / "part").stat().st_size > len(CONTENT) - 2000


def test_a_very_slow_connection_counts_as_stalled(server: FaultServer, sleeps: list[float], tmp_path: Path) -> None:
    retries = RetryPolicy(sleep=sleeps.append, stall_s=0.1, num_retries=0)
    with pytest.raises(TransferError, match="received almost nothing for"):
        transfer(server.url("trickle"), tmp_path / "part", None, retries)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x", "nonsense", "http://"])
def test_only_http_addresses_are_accepted(url: str, retries: RetryPolicy, tmp_path: Path) -> None:
    refusal(downloader(retries, archive_of(CONTENT, url)), tmp_path)
    assert_nothing_but_a_part(tmp_path)


def test_a_file_of_unknown_size_cannot_fill_the_disk(
    server: FaultServer, retries: RetryPolicy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer_module, "MAX_UNKNOWN_BYTES", 1000)
    for fault, says in (("none", "more than the limit"), ("unsaid", "sends more than 1,000 bytes")):
        with pytest.raises(TransferError, match=says):
            transfer(server.url(fault), tmp_path / "part", None, retries)
    assert (tmp_path / "part").stat().st_size == 1000


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (CONTENT[:-1000], "it is cut short or damaged"),
        (packed(*official_entries(), special(f"{FOLDER}/link", tarfile.SYMTYPE, "/etc")), "is not a plain file"),
    ],
    ids=["truncated gzip", "hostile tar"],
)
def test_an_archive_that_cannot_be_unpacked_is_refused_and_removed(
    content: bytes, says: str, server: FaultServer, retries: RetryPolicy, tmp_path: Path
) -> None:
    server.content = content
    assert says in refusal(downloader(retries, archive_of(content, server.url("none"))), tmp_path)
    assert os.listdir(tmp_path) == []


def test_without_a_digest_a_partial_file_is_discarded(
    server: FaultServer, retries: RetryPolicy, tmp_path: Path
) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(b"from elsewhere")
    downloader(retries, archive_of(CONTENT, server.url("none"), sha256=None)).download("small", tmp_path)
    assert_whole(tmp_path)


# full and read-only disks


def test_too_little_disk_space_is_an_error_before_the_download(
    server: FaultServer, retries: RetryPolicy, tmp_path: Path
) -> None:
    archive = archive_of(CONTENT, server.url("none"))
    message = refusal(downloader(retries, archive, free=archive.unpacked_bytes), tmp_path)
    assert re.search(r"0\.\d MB are needed for .*, 0\.\d MB are free", message)
    assert server.requests == []
    assert os.listdir(tmp_path) == []


@contextmanager
def file_size_limit(num_bytes: int) -> Iterator[None]:
    """Limit the size of files, so that larger writes fail as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_fills_up_while_downloading_loses_nothing(
    server: FaultServer, retries: RetryPolicy, tmp_path: Path
) -> None:
    fetcher = downloader(retries, archive_of(CONTENT, server.url("none")))
    with file_size_limit(50_000):
        assert "File too large" in refusal(fetcher, tmp_path)
    assert_nothing_but_a_part(tmp_path)
    assert (tmp_path / f"{NAME}.part").stat().st_size == 50_000
    fetcher.download("small", tmp_path)
    assert [each.range for each in server.requests] == [None, "bytes=50000-"]
    assert_whole(tmp_path)


def test_a_disk_that_fills_up_while_unpacking_keeps_the_archive(
    server: FaultServer, retries: RetryPolicy, tmp_path: Path
) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT)
    fetcher = downloader(retries, archive_of(CONTENT, server.url("none")))
    with file_size_limit(20_000):
        assert "File too large" in refusal(fetcher, tmp_path)
    assert os.listdir(tmp_path) == [NAME]
    fetcher.download("small", tmp_path)
    assert server.requests == []
    assert sorted(os.listdir(tmp_path)) == [FOLDER, NAME]


def test_a_folder_that_cannot_be_created_is_named(server: FaultServer, retries: RetryPolicy, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    place = tmp_path / "file" / "data"
    assert str(place) in refusal(downloader(retries, archive_of(CONTENT, server.url("none"))), place)


# existing files


@pytest.mark.parametrize("inside", [False, True], ids=["data_dir", "the folder itself"])
def test_existing_files_are_unchanged_even_if_malformed(
    inside: bool, server: FaultServer, retries: RetryPolicy, tmp_path: Path
) -> None:
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "test_batch.bin").write_bytes(b"malformed")
    fetcher = downloader(retries, archive_of(CONTENT, server.url("none")))
    place = tmp_path / FOLDER if inside else tmp_path
    assert fetcher.download("small", place) == tmp_path / FOLDER
    assert server.requests == []
    with pytest.raises(DataError, match=r"data_batch_1\.bin is missing|batches.* is missing"):
        fetcher.verify("small", place)


def test_an_archive_that_the_user_provides_is_used_and_kept(retries: RetryPolicy, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(CONTENT)
    fetcher = downloader(retries, archive_of(CONTENT, "http://127.0.0.1:1/"), FIRSTLIGHT_OFFLINE="1")
    fetcher.download("small", tmp_path)
    fetcher.verify("small", tmp_path)
    assert sorted(os.listdir(tmp_path)) == [FOLDER, NAME]


def test_an_unofficial_archive_is_refused_and_kept(retries: RetryPolicy, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(CONTENT + b"1")
    with pytest.raises(DataError, match=r"not the official archive .* Remove it"):
        downloader(retries, archive_of(CONTENT, "http://127.0.0.1:1/")).download("small", tmp_path)
    assert os.listdir(tmp_path) == [NAME]


def test_offline_there_are_no_requests_and_no_files(server: FaultServer, retries: RetryPolicy, tmp_path: Path) -> None:
    fetcher = downloader(retries, archive_of(CONTENT, server.url("none")), FIRSTLIGHT_OFFLINE="1")
    message = refusal(fetcher, tmp_path / "data")
    assert "FIRSTLIGHT_OFFLINE forbids downloading it" in message
    assert str(tmp_path / "data" / FOLDER) in message
    assert os.listdir(tmp_path) == []
    assert server.requests == []


def test_names_and_versions_that_do_not_exist_are_refused(retries: RetryPolicy, tmp_path: Path) -> None:
    fetcher = downloader(retries, archive_of(CONTENT, "http://127.0.0.1:1/"))
    with pytest.raises(UsageError, match="choose one of small"):
        fetcher.download("imagenet", tmp_path)
    with pytest.raises(UsageError, match="choose one of binary"):
        fetcher.download("small", tmp_path, "python")
    fetcher.fetch_missing("drawn", tmp_path)  # embedded: nothing to download
    assert os.listdir(tmp_path) == []


# concurrent downloads


def fetch_in_process(url: str, place: Path, results: multiprocessing.Queue[str]) -> None:
    fetcher = downloader(RetryPolicy(stall_s=5.0), archive_of(CONTENT, url))
    results.put(str(fetcher.download("small", place)))


def test_one_of_two_threads_downloads_and_both_get_the_data(
    server: FaultServer, retries: RetryPolicy, tmp_path: Path
) -> None:
    fetcher = downloader(retries, archive_of(CONTENT, server.url("cut-once")))
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(fetcher.download("small", tmp_path))) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(20)
    assert found == [tmp_path / FOLDER] * 4
    assert sum(each.num_sent for each in server.requests) == len(CONTENT)
    assert_whole(tmp_path)


def test_one_of_two_processes_downloads_and_both_get_the_data(server: FaultServer, tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    results = fork.Queue()
    processes = [fork.Process(target=fetch_in_process, args=(server.url("none"), tmp_path, results)) for _ in range(2)]
    for each in processes:
        each.start()
    assert [results.get(timeout=20) for _ in processes] == [str(tmp_path / FOLDER)] * 2
    for each in processes:
        each.join(20)
    assert len(server.requests) == 1
    assert_whole(tmp_path)


def test_waiting_for_a_lock_is_reported_and_a_stale_lock_file_does_not_block(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()  # of a process that was killed
    waited, order = threading.Event(), []

    def second() -> None:
        with locked(path, waited.set):
            order.append("second")

    with locked(path):
        thread = threading.Thread(target=second)
        thread.start()
        assert waited.wait(10)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    assert not path.exists()


# progress


def test_progress_is_plain_lines_without_a_terminal(server: FaultServer, retries: RetryPolicy, tmp_path: Path) -> None:
    lines: list[str] = []
    archive = archive_of(CONTENT, server.url("404"), server.url("none"))
    Downloader(
        manifest={"small": (archive,)},
        retry_policy=retries,
        free_bytes=lambda _: 10**9,
        show_progress=lambda name: ProgressLines(name, lines.append),
        environment={},
    ).download("small", tmp_path)
    assert lines[:3] == [
        f"{NAME}: downloading {server.url('404')}",
        f"{NAME}: {server.url('404')}: 404 Not Found",
        f"{NAME}: downloading {server.url('none')}",
    ]
    assert re.fullmatch(rf"{NAME}: 100% of 0\.\d MB, [\d.]+ MB/s", lines[3])
    assert len(lines) == 4


def test_lines_are_rare_and_give_the_time_left() -> None:
    said: list[str] = []
    now = 0.0
    lines = ProgressLines("x", said.append, every_s=10.0, clock=lambda: now)
    for second in range(0, 61, 5):
        now = float(second)
        lines.update(1_000_000 * second, 100_000_000)
    assert said[0] == "x: 10% of 100.0 MB, 1.00 MB/s, 2 min left"
    assert len(said) == 6
    now = 70.0
    lines.update(500, None)  # starts again
    now = 90.0
    lines.update(2_000_500, None)
    assert said[-1] == "x: 2.0 MB, 0.10 MB/s"


def test_a_terminal_shows_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(show_progress("x"), ProgressLines)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with show_progress("x") as bar:
        assert isinstance(bar, ProgressBar)
        bar.note("downloading [from] there")
        bar.update(1_000_000, 2_000_000)
        bar.update(2_000_000, 2_000_000)
    printed = capsys.readouterr()
    assert "downloading [from] there\n" in printed.err
    assert "2.0/2.0 MB" in printed.err
    assert printed.out == ""
