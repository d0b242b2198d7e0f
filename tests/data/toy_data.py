"""Helpers of the tests of `dfa_cli.data`: a toy file, and functions that put it somewhere."""

from __future__ import annotations

import gzip
import hashlib
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dfa_cli.data import catalogue
from dfa_cli.data.catalogue import Entry, RawFile
from dfa_cli.data.source import Source

CHECKOUT = Path(__file__).resolve().parents[2]
CONTENT = b"what the file is known to hold, " * 64


@dataclass
class Server:
    """A web server on this machine that serves `files`, and answers 404 for every other path.

    `asked`: the requests so far. `stall`: while it is set, no request is answered. `pause` [s]: how long the
    server waits after every quarter of an answer.
    """

    address: str
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    stall: threading.Event = field(default_factory=threading.Event)
    pause: float = 0.0


def known(name: str, content: bytes, *addresses: str) -> RawFile:
    """Make the catalogue entry of a file with this content."""
    return RawFile(name, len(content), hashlib.sha256(content).hexdigest(), addresses)


def register(monkeypatch: pytest.MonkeyPatch, *files: RawFile, name: str = "toy") -> None:
    """Put a data set `name` of these files into the catalogue until the test ends."""
    entry = Entry(name, name.capitalize(), "samples", 2, 3, 2, "a toy", files)
    monkeypatch.setitem(catalogue.CATALOGUE, name, entry)


def put(root: Path, content: bytes, relative: str = "Toy/raw/toy.bin") -> Path:
    """Write `content` to `root/relative`, compressed when the name ends with `.gz`."""
    path = root / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def leftovers(root: Path) -> list[str]:
    """List everything under `root`, hidden files and folders included."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def local_source(name: str, cache: Path) -> Source:
    """Make a source with an empty cache that copies from the folders of this machine.

    Skips the test when no folder holds data set `name`.
    """
    here = Source.from_config(None, [str(CHECKOUT.parent / "shared" / "datasets")], network=False)
    reason = here.available(name)
    if reason is not None:
        pytest.skip(f"no copy of {name} on this machine: {reason}")
    mirrors = tuple(here.mirrors) if here.cache is None else (*here.mirrors, here.cache)
    return Source(cache, mirrors, network=False)
