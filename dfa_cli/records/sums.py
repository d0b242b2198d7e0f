"""The sums over what a run leaves on disk: `run.json`, `metrics.csv`, the weights and the checkpoint.

- `run.json` ends with the key `sum`, the SHA-256 of all bytes before this key. Each write has a sum of its own.
- The key `files` of a run that has ended holds the SHA-256 of `metrics.csv` and of the weights.
- A checkpoint has the SHA-256 of its file in its metadata. The file is summed with zeros in the place of the sum.

The sums show damage, and an edit by hand. They are no signature: whoever edits a record can compute a new sum.
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
NO_SUM = "0" * 64  # what stands in the place of a sum while it is computed
_BEFORE_SUM, _AFTER_SUM = b',\n "sum": "', b'"\n}\n'
_IN_METADATA = re.compile(rb'"sum":"([0-9a-f]{64})"')
_WITHOUT_SUM = {"format", "epoch", "optimizer"}  # the metadata of a checkpoint of a version that wrote no sum
_BYTES_AT_ONCE = 1 << 20


def sealed(record: Mapping[str, Any]) -> bytes:
    """Formats a record as the content of `run.json`, with its sum as the last key."""
    text = json.dumps({name: value for name, value in record.items() if name != SUM}, indent=1)
    before = text.removesuffix("\n}").encode()
    return before + _BEFORE_SUM + _sum(before) + _AFTER_SUM


def is_changed(text: bytes, record: Mapping[str, Any]) -> bool:
    """Tells whether the content `text` of a `run.json`, which reads as `record`, was changed after dfa wrote it.

    The content of a version that wrote no sum counts as unchanged.
    """
    before, mark, end = text.rpartition(_BEFORE_SUM)
    if mark:
        return end != _sum(before) + _AFTER_SUM
    # A damaged name of the key would let the content pass as that of an earlier version. No such content ended with a
    # text of this length.
    *_, last = record.values()
    return SUM in record or (isinstance(last, str) and len(last) == len(NO_SUM))


def _sum(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


def sum_of_file(path: str | os.PathLike[str]) -> str:
    """Computes the SHA-256 of a file. Raises `OSError` when it cannot be read."""
    total = hashlib.sha256()
    with open(path, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # A device, such as /dev/full, may have no end.
            raise OSError(errno.EINVAL, "it is not a regular file")
        while part := file.read(_BYTES_AT_ONCE):
            total.update(part)
    return total.hexdigest()


def change_of_file(path: str | os.PathLike[str], expected: str | None) -> str | None:
    """Says how a file differs from the one with the sum `expected`; `None` if it does not, or if no sum is known."""
    name = os.path.basename(path)
    try:
        return None if expected is None or sum_of_file(path) == expected else f"{name} {CHANGED}"
    except FileNotFoundError:
        return f"{name} is gone"
    except OSError as error:
        return f"{name} cannot be read ({error.strerror})"


def sealed_checkpoint(content: bytes) -> tuple[bytes, memoryview]:
    """Puts the sum into the content of a checkpoint that has `NO_SUM` as `sum` in its metadata.

    Returns the head with the sum, and the rest, so that large content is not copied.
    """
    start = content.index(NO_SUM.encode())
    end = start + len(NO_SUM)
    return content[:start] + _sum(content), memoryview(content)[end:]


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
                return None if metadata.keys() == _WITHOUT_SUM else f"{name} {CHANGED}"
            start, end = found.span(1)
            total = hashlib.sha256(size + head[:start] + NO_SUM.encode() + head[end:])
            while part := file.read(_BYTES_AT_ONCE):
                total.update(part)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"{name} cannot be read ({error.strerror})"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return f"{name} {CHANGED}"
    return None if total.hexdigest() == found[1].decode() else f"{name} {CHANGED}"
