"""Reading a raw file, and refusing it unless its content is exactly what the catalogue says."""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from pathlib import Path
from typing import IO

from dfa_cli.data.catalogue import RawFile


class UnusableError(Exception):
    """A copy of a file that cannot be used; the message says why, as the end of a sentence."""


def check(content: bytes, file: RawFile) -> bytes:
    """`content` itself. Raises `UnusableError` with the expected and the found digest if it is another."""
    if len(content) > file.size:
        raise UnusableError(f"expected {_expected(file)}, found more than {file.size} bytes")
    found = hashlib.sha256(content).hexdigest()
    if found != file.sha256:
        raise UnusableError(f"expected {_expected(file)}, found SHA-256 {found} of {len(content)} bytes")
    return content


def unpack(stream: IO[bytes], file: RawFile) -> bytes:
    """The checked content of a gzip stream.

    No more is decompressed than the file should hold: a few kilobytes of gzip can stand for gigabytes, and
    the length that its trailer states is the sender's word.
    """
    try:
        with gzip.GzipFile(fileobj=stream) as unpacked:
            content = unpacked.read(file.size + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UnusableError(
            f"expected gzip of {_expected(file)}, found a damaged archive ({error})"
        ) from error
    return check(content, file)


def read(path: Path, file: RawFile) -> bytes:
    """The checked content of the copy at `path`, decompressed if its name ends with `.gz`."""
    try:
        with path.open("rb") as stream:
            if path.suffix != ".gz":
                return check(stream.read(file.size + 1), file)
            if os.fstat(stream.fileno()).st_size > packed_limit(file):
                raise UnusableError(
                    f"expected gzip of {_expected(file)}, found an archive that is larger than that"
                )
            return unpack(stream, file)
    except OSError as error:
        raise UnusableError(f"it cannot be read: {error.strerror or error}") from error


def packed_limit(file: RawFile) -> int:
    """The most bytes an honest gzip of `file` can have: gzip adds little to what cannot be compressed."""
    return file.size + file.size // 1000 + 4096


def _expected(file: RawFile) -> str:
    return f"SHA-256 {file.sha256} of {file.size} bytes"
