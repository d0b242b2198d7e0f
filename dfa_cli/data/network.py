"""Downloads raw files from their public addresses, and finds out within seconds whether that can work."""

from __future__ import annotations

import http.client
import io
import queue
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from dfa_cli.data.catalogue import RawFile
from dfa_cli.data.checksums import UnusableError, check, decompress, gzip_size_limit

MIN_BYTES_PER_SECOND = 10_000  # a download that is slower than this is given up
# What urllib raises when a server cannot be asked. ValueError stands for text that is not an address.
_FAILURES = (OSError, http.client.HTTPException, ValueError)


def download(file: RawFile, timeout: float, unresponsive: set[str]) -> bytes:
    """Download `file` from the first of its addresses that serves it, and check the content.

    `timeout` [s] holds for the connection and for every pause in the transfer. A host that does not answer is
    added to `unresponsive`, and no host in that set is asked. Otherwise every file of a data set would wait for
    the same dead server.

    Raises `UnusableError` with what every address answered.
    """
    answers: list[str] = []
    for address in file.addresses:
        host = urlsplit(address).netloc
        if host in unresponsive:
            # The message names each silent host once, even when several addresses are on it.
            if not any(answer.startswith(f"{host} ") for answer in answers):
                answers.append(f"{host} did not answer")
            continue
        try:
            packed = address.endswith(".gz")
            raw = _receive(address, gzip_size_limit(file) if packed else file.size, timeout)
            return decompress(io.BytesIO(raw), file) if packed else check(raw, file)
        except UnusableError as error:
            answers.append(f"{address} sent another file ({error})")
        except urllib.error.HTTPError as error:
            error.close()
            answers.append(f"{address} answered {error.code} {error.reason}".rstrip())
        except _FAILURES as error:
            unresponsive.add(host)
            answers.append(f"{host} did not answer ({_reason(error)})")
    raise UnusableError("; ".join(answers))


def why_unreachable(files: tuple[RawFile, ...], seconds: float) -> str | None:
    """Ask all hosts for the first of `files`. Returns `None` as soon as one host offers it, else the reason.

    The answer comes within `seconds`. The reason has the answer of each host, sorted. Each host is asked in a daemon
    thread that may be left behind, because the look-up of a host name can block for longer than the timeout of a
    socket.
    """
    # The addresses are reversed so that the first address of each host wins.
    addresses = {urlsplit(address).netloc: address for address in reversed(files[0].addresses)}
    answers: queue.SimpleQueue[tuple[str, str | None]] = queue.SimpleQueue()

    def ask(host: str, address: str) -> None:
        request = urllib.request.Request(address, headers={"User-Agent": "dfa"}, method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=seconds):
                answers.put((host, None))
        except _FAILURES as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()
            answers.put((host, _reason(error)))

    for host, address in addresses.items():
        threading.Thread(target=ask, args=(host, address), daemon=True).start()
    deadline = time.monotonic() + seconds
    reasons = dict.fromkeys(sorted(addresses), f"no answer within {seconds:g} s")
    for _ in addresses:
        try:
            host, reason = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        if reason is None:
            return None
        reasons[host] = reason
    return "; ".join(f"{host}: {reason}" for host, reason in reasons.items())


def _receive(address: str, limit: int, timeout: float) -> bytes:
    """Download `address`. Raises `UnusableError` when the server sends more than `limit` bytes."""
    deadline = time.monotonic() + timeout + limit / MIN_BYTES_PER_SECOND
    request = urllib.request.Request(address, headers={"User-Agent": "dfa"})
    received = bytearray()
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        expected = answer.headers.get("Content-Length", "")
        total = int(expected) if expected.isdecimal() else None
        with _progress(address, total) as advance:
            while chunk := answer.read1(1 << 16):
                received += chunk
                advance(len(chunk))
                if len(received) > limit:
                    raise UnusableError(f"it sends more than the {limit} bytes expected")
                if time.monotonic() > deadline:
                    raise TimeoutError(f"slower than {MIN_BYTES_PER_SECOND // 1000} kB/s")
    return bytes(received)


@contextmanager
def _progress(address: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on a terminal. A log file gets none, since half-drawn bars would fill it."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(address.rsplit("/", 1)[-1], total=total)
        yield lambda count: progress.update(task, advance=count)


def _reason(error: BaseException) -> str:
    """Put the cause of a network error into a few words."""
    if isinstance(error, urllib.error.HTTPError):
        return f"{error.code} {error.reason}".rstrip()
    if isinstance(error, urllib.error.URLError):
        inner = error.reason
        return _reason(inner) if isinstance(inner, BaseException) else str(inner)
    if isinstance(error, TimeoutError):
        return str(error) or "timed out"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
