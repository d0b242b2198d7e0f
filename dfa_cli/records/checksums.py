"""Computes the checksums of what a run leaves on disk: `run.json`, `metrics.csv`, the weights and the checkpoint.

- `run.json` ends with the key `sum`, the SHA-256 of all bytes before this key. Each write computes it anew.
- The key `files` of a run that has ended holds the SHA-256 of `metrics.csv` and of the weights.
- A checkpoint has the SHA-256 of its file in its metadata, computed with zeros in the place of the checksum.

The checksums show damage, and an edit by hand. They are no signature: whoever edits a record can compute a new one.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
from collections.abc import Mapping
from typing import Any

SUM, FILES = "sum", "files"  # keys of run.json
CHANGED = "was changed after dfa wrote it"
ZEROS = "0" * 64  # what stands in the place of a checksum while it is computed
_BEFORE_SUM, _AFTER_SUM = b',\n "sum": "', b'"\n}\n'
_IN_METADATA = re.compile(rb'"sum":"([0-9a-f]{64})"')
# The metadata of a checkpoint of an earlier version, which wrote no checksum.
_METADATA_WITHOUT = {"format", "epoch", "optimizer"}
_BYTES_AT_ONCE = 1 << 20


def with_checksum(record: Mapping[str, Any]) -> bytes:
    """Formats a record as the content of `run.json`, with its checksum as the last key."""
    text = json.dumps({name: value for name, value in record.items() if name != SUM}, indent=1)
    before = text.removesuffix("\n}").encode()
    return before + _BEFORE_SUM + _sha256(before) + _AFTER_SUM


def is_changed(text: bytes, record: Mapping[str, Any]) -> bool:
    """Tells whether the content `text` of a `run.json`, which reads as `record`, was changed after dfa wrote it.

    The content of a version that wrote no checksum counts as unchanged.
    """
    before, mark, end = text.rpartition(_BEFORE_SUM)
    if mark:
        return end != _sha256(before) + _AFTER_SUM
    # A damaged name of the key would let the content pass as that of an earlier version. No such content ended with a
    # text of this length.
    *_, last = record.values()
    return SUM in record or (isinstance(last, str) and len(last) == len(ZEROS))


def _sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


def sha256_of_file(path: str | os.PathLike[str]) -> str:
    """Computes the SHA-256 of a file. Raises `OSError` when it cannot be read."""
    total = hashlib.sha256()
    with open(path, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # A device, such as /dev/full, may have no end.
            raise OSError(errno.EINVAL, "it is not a regular file")
        while part := file.read(_BYTES_AT_ONCE):
            total.update(part)
    return total.hexdigest()


def change_of_file(path: str | os.PathLike[str], expected: str | None) -> str | None:
    """Says that a file does not have the checksum `expected`; `None` if it has it, or if none is known."""
    name = os.path.basename(path)
    try:
        return None if expected is None or sha256_of_file(path) == expected else f"{name} {CHANGED}"
    except FileNotFoundError:
        return f"{name} is gone"
    except OSError as error:
        return f"{name} cannot be read ({error.strerror})"


def with_checksum_in_metadata(content: bytes) -> tuple[bytes, memoryview]:
    """Puts the checksum into the content of a checkpoint, whose metadata has `ZEROS` in its place.

    Returns the beginning with the checksum, and the rest, so that large content is not copied.
    """
    start = content.index(ZEROS.encode())
    end = start + len(ZEROS)
    return content[:start] + _sha256(content), memoryview(content)[end:]


def change_of_checkpoint(path: str | os.PathLike[str]) -> str | None:
    """Says how a checkpoint differs from what dfa has written; `None` if it does not, or if there is none."""
    name = os.path.basename(path)
    try:
        with open(path, "rb") as file:
            size = file.read(8)
            length = int.from_bytes(size, "little")
            head = file.read(length) if length <= os.fstat(file.fileno()).st_size else b""
            metadata = json.loads(head)["__metadata__"]
            found = _IN_METADATA.search(head)
            if found is None:
                return None if metadata.keys() == _METADATA_WITHOUT else f"{name} {CHANGED}"
            start, end = found.span(1)
            total = hashlib.sha256(size + head[:start] + ZEROS.encode() + head[end:])
            while part := file.read(_BYTES_AT_ONCE):
                total.update(part)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"{name} cannot be read ({error.strerror})"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return f"{name} {CHANGED}"
    return None if total.hexdigest() == found[1].decode() else f"{name} {CHANGED}"
