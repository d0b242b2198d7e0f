"""Reads raw files, and refuses a file whose content differs from what the catalogue expects."""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from pathlib import Path
from typing import IO

from dfa_cli.data.catalogue import RawFile


class UnusableError(Exception):
    """Raised for a copy of a raw file that cannot be used. Its message is a clause that ends a sentence."""


def check(content: bytes, file: RawFile) -> bytes:
    """Return `content` if it has the size and the SHA-256 that `file` states.

    Raises `UnusableError` with the expected and the found digest otherwise.
    """
    if len(content) > file.size:
        raise UnusableError(f"expected {_expected(file)}, found more than {file.size} bytes")
    found = hashlib.sha256(content).hexdigest()
    if found != file.sha256:
        raise UnusableError(f"expected {_expected(file)}, found SHA-256 {found} of {len(content)} bytes")
    return content


def decompress(stream: IO[bytes], file: RawFile) -> bytes:
    """Decompress a gzip stream, and check the content against `file`.

    Decompression stops one byte after the expected size. A few kilobytes of gzip can expand to gigabytes, and
    the length in a gzip trailer cannot be trusted: whoever made the archive wrote it.

    Raises `UnusableError` for a damaged archive or another content.
    """
    try:
        with gzip.GzipFile(fileobj=stream) as unpacked:
            content = unpacked.read(file.size + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UnusableError(
            f"expected gzip of {_expected(file)}, found a damaged archive ({error})"
        ) from error
    return check(content, file)


def read_checked(path: Path, file: RawFile) -> bytes:
    """Read the copy at `path`, decompress it if its name ends with `.gz`, and check it against `file`.

    Raises `UnusableError` for a copy that cannot be read or has another content.
    """
    try:
        with path.open("rb") as stream:
            if path.suffix != ".gz":
                return check(stream.read(file.size + 1), file)
            if os.fstat(stream.fileno()).st_size > gzip_size_limit(file):
                raise UnusableError(
                    f"expected gzip of {_expected(file)}, found an archive that is larger than that"
                )
            return decompress(stream, file)
    except OSError as error:
        raise UnusableError(f"it cannot be read: {error.strerror or error}") from error


def gzip_size_limit(file: RawFile) -> int:
    """Compute the largest size [bytes] that a gzip of `file` can have: gzip adds little even to random bytes."""
    return file.size + file.size // 1000 + 4096


def _expected(file: RawFile) -> str:
    return f"SHA-256 {file.sha256} of {file.size} bytes"
