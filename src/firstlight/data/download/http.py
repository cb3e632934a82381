"""Download one file from one address: resume partial downloads, retry with pauses, close stalled connections."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from io import BufferedIOBase
from pathlib import Path
from typing import Any
from urllib import request
from urllib.error import HTTPError, URLError

CHUNK_BYTES = 1 << 18
MAX_UNKNOWN_BYTES = 1 << 30  # largest download if the size of the file is unknown
SLOWEST_BYTES_PER_S = 512  # a slower connection counts as stalled
RETRY_STATUSES = frozenset((408, 425, 429, 500, 502, 503, 504))


class TransferError(Exception):
    """The download from an address failed; the text says why in a few words."""


class _InterruptedError(Exception):
    """A failure after which a retry may succeed."""


@dataclass(frozen=True)
class RetryPolicy:
    """Number and timing of the attempts to download from an address.

    Args:
        num_retries: Largest number of consecutive retries that download less than `progress_bytes`.
        progress_bytes: Number of bytes from which an attempt counts as progress and resets the count of retries.
        backoff_s: Pause before the first retry in seconds; it doubles before every further retry.
        stall_s: Seconds with almost no data after which a connection is closed.
        sleep: Function that pauses for a number of seconds.
    """

    num_retries: int = 4
    progress_bytes: int = 1_000_000
    backoff_s: float = 1.0
    stall_s: float = 30.0
    sleep: Callable[[float], None] = time.sleep


def transfer(
    url: str,
    part: Path,
    size: int | None,
    retry_policy: RetryPolicy = RetryPolicy(),
    update: Callable[[int, int | None], None] = lambda _done, _total: None,
) -> None:
    """Download the file at `url` into `part`, starting at the end of `part`.

    The content of `part` is assumed to be the beginning of the file; the caller verifies the digest of the whole file.

    Args:
        url: Address, http or https.
        part: Path of the partial file, which keeps all bytes that have arrived.
        size: Size of the file in bytes; None if it is unknown.
        retry_policy: Number and timing of the attempts.
        update: Function that is called with the number of bytes so far, and the total or None.

    Raises:
        TransferError: The download failed; the text says why.
        OSError: `part` cannot be written.
    """
    current = _Transfer(url, part, size, retry_policy.stall_s, update)
    num_failures = 0
    while True:
        before = bytes_in(part)
        try:
            current.fetch_rest()
            return
        except _InterruptedError as error:
            gained = bytes_in(part) - before
            num_failures = 1 if gained >= retry_policy.progress_bytes else num_failures + 1
            if num_failures > retry_policy.num_retries:
                raise TransferError(f"{error} ({num_failures} times)") from error
        retry_policy.sleep(retry_policy.backoff_s * 2 ** (num_failures - 1))


def bytes_in(path: Path) -> int:
    """Return the size of a file; 0 if there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


class _Transfer:
    """The state of the download from one address, across retries."""

    def __init__(
        self, url: str, part: Path, size: int | None, stall_s: float, update: Callable[[int, int | None], None]
    ) -> None:
        self.url, self.part, self.size, self.stall_s, self.update = url, part, size, stall_s, update
        self.validator: str | None = None  # ETag or date of the content on this server
        self.has_answered = False

    def fetch_rest(self) -> None:
        """Make one request and append the answer to the partial file.

        Raises:
            _InterruptedError: The answer is incomplete; a retry may download the rest.
            TransferError: A retry is useless.
        """
        start = bytes_in(self.part)
        if self.size is not None and start >= self.size:
            if start == self.size:
                return
            self.part.unlink()
            start = 0
        with self._open(start) as response:
            start, total = self._read_head(response, start)
            self.validator = _validator_of(response)
            with self.part.open("r+b") if start else self.part.open("wb") as file:
                file.seek(start)
                self._copy(response, file, start, total)

    def _open(self, start: int) -> HTTPResponse:
        headers = {"User-Agent": "firstlight", "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
            if self.validator:  # makes the server send the whole file if it has changed
                headers["If-Range"] = self.validator
        try:
            response = _OPENER.open(request.Request(self.url, headers=headers), timeout=self.stall_s)
        except HTTPError as error:
            self.has_answered = True
            raise self._to_transfer_error(error) from error
        except URLError as error:  # no connection: a retry is useful only after an earlier answer
            reason = _reason(error.reason)
            raise (_InterruptedError(reason) if self.has_answered else TransferError(reason)) from error
        except (OSError, HTTPException) as error:
            raise _InterruptedError(_reason(error)) from error
        except ValueError as error:
            raise TransferError("is not an address") from error
        self.has_answered = True
        return response

    def _to_transfer_error(self, error: HTTPError) -> Exception:
        error.close()
        text = _one_line(f"{error.code} {error.reason}")
        if error.code == 416:  # the partial file is longer than the file on the server
            self.part.unlink(missing_ok=True)
            return _InterruptedError(text)
        return _InterruptedError(text) if error.code in RETRY_STATUSES else TransferError(text)

    def _read_head(self, response: HTTPResponse, start: int) -> tuple[int, int | None]:
        """Return the first byte of the answer, and the size of the whole file."""
        if response.status == 206:
            found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
            if not found or int(found[1]) != start:
                self.part.unlink(missing_ok=True)
                raise _InterruptedError("answered with a different range than requested")
            total = None if found[2] == "*" else int(found[2])
        elif response.status == 200:
            start, total = 0, response.length
        else:
            raise TransferError(_one_line(f"{response.status} {response.reason}"))
        if total is not None and self.size is not None and total != self.size:
            raise TransferError(f"offers {total:,} bytes instead of {self.size:,}")
        if total is not None and self.size is None and total > MAX_UNKNOWN_BYTES:
            raise TransferError(f"offers {total:,} bytes, more than the limit of {MAX_UNKNOWN_BYTES:,}")
        return start, self.size if total is None else total

    def _copy(self, response: HTTPResponse, file: BufferedIOBase, start: int, total: int | None) -> None:
        done, limit = start, MAX_UNKNOWN_BYTES if total is None else total
        window_from_s, window_from = time.monotonic(), done
        self.update(done, total)
        while done < limit:
            chunk = _read_some(response, min(CHUNK_BYTES, limit - done))
            if not chunk:
                break
            file.write(chunk)
            done += len(chunk)
            self.update(done, total)
            passed_s = time.monotonic() - window_from_s
            if passed_s >= self.stall_s:
                if done - window_from < passed_s * SLOWEST_BYTES_PER_S:
                    raise _InterruptedError(f"received almost nothing for {passed_s:.0f} s")
                window_from_s, window_from = time.monotonic(), done
        if total is not None and done < total:
            raise _InterruptedError(f"the connection was cut at byte {done:,} of {total:,}")
        if total is None and done >= MAX_UNKNOWN_BYTES:
            raise TransferError(f"sends more than {MAX_UNKNOWN_BYTES:,} bytes")


def _read_some(response: HTTPResponse, num_bytes: int) -> bytes:
    try:
        return response.read1(num_bytes)
    except (OSError, HTTPException, ValueError) as error:
        raise _InterruptedError(_reason(error)) from error


def _validator_of(response: HTTPResponse) -> str | None:
    tag = response.headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")


def _reason(error: object) -> str:
    """Return the cause of a failed connection in a few words, in one line."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return _one_line(getattr(error, "strerror", None) or str(error) or type(error).__name__)


def _one_line(text: str) -> str:
    """Return text from a server as one short line, without line breaks and terminal codes."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())[:200]


class _Redirects(request.HTTPRedirectHandler):
    """Follows redirects to http and https addresses only."""

    def redirect_request(
        self, req: request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> request.Request | None:
        if not newurl.lower().startswith(("http://", "https://")):
            raise HTTPError(req.full_url, code, "redirects to an address that is not http", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _make_opener() -> request.OpenerDirector:
    """Return an opener for http and https, without files, FTP or data addresses."""
    opener = request.OpenerDirector()
    for handler in (
        request.ProxyHandler(),
        request.UnknownHandler(),
        request.HTTPHandler(),
        request.HTTPSHandler(),
        request.HTTPDefaultErrorHandler(),
        _Redirects(),
        request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


_OPENER = _make_opener()
