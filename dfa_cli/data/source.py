"""Where raw files come from: the cache, mirror folders, the network, in that order, and none unchecked."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dfa_cli.data import checksums as content
from dfa_cli.data.catalogue import Entry, RawFile, entry
from dfa_cli.data.checksums import UnusableError
from dfa_cli.errors import DfaError
from dfa_cli.machine.files import cannot_write, landing

DEFAULT_MIRRORS = ("../shared/datasets",)
PROBE_SECONDS = 3.0


@dataclass(frozen=True)
class Found:
    """One copy of a raw file: `state` is ok, corrupt or missing; `detail` what was expected and found."""

    file: RawFile
    state: str
    path: Path | None = None
    detail: str = ""


@dataclass(frozen=True)
class Source:
    """Raw files by name, checked by SHA-256 before anything opens them.

    `cache` holds what was copied or fetched (`None`: nothing is kept); `mirrors` are folders laid out as
    `NAME/raw/FILE`, `NAME/FILE` or just `FILE`; `network=False` stays on this machine; `timeout` in seconds
    is for each connection; `warn` gets a line about every copy that had to be passed over.
    """

    cache: Path | None
    mirrors: Sequence[Path] = ()
    network: bool = True
    timeout: float = 10.0
    warn: Callable[[str], None] = logging.getLogger("dfa_cli.data").warning
    _silent: set[str] = field(default_factory=set, repr=False, compare=False)  # hosts that did not answer
    _said: set[str] = field(default_factory=set, repr=False, compare=False)

    @classmethod
    def from_config(
        cls,
        data_dir: str | None,
        mirrors: Iterable[str] | None,
        *,
        network: bool = True,
        timeout: float = 10.0,
        warn: Callable[[str], None] | None = None,
    ) -> Source:
        """From the configuration's `data_dir` and `mirrors`, and `DFA_DATA_DIR` and `DFA_DATA_MIRROR`.

        `data_dir=None`: `DFA_DATA_DIR`, else the platform's cache folder. A relative mirror is looked for
        beside the checkout, when the program runs from one, and in the working folder. Raises `DfaError` for
        a mirror that is an address instead of a folder.
        """
        named = [mirrors] if isinstance(mirrors, str) else list(mirrors or ())
        named += [part for part in os.environ.get("DFA_DATA_MIRROR", "").split(os.pathsep) if part]
        for mirror in named:
            if not isinstance(mirror, str) or "://" in mirror:
                raise DfaError(f"a mirror is a folder on this machine, but got {mirror!r}")
        folders = dict.fromkeys(folder for mirror in named for folder in _folders(mirror))
        if warn is None:
            warn = logging.getLogger("dfa_cli.data").warning
        return cls(_cache_folder(data_dir), tuple(folders), network, timeout, warn)

    @classmethod
    def default(cls) -> Source:
        """What `from_config` gives when nothing is configured; for commands that read no configuration."""
        return cls.from_config(None, DEFAULT_MIRRORS)

    def read(self, name: str | Entry, file: RawFile) -> bytes:
        """The checked content of one raw file of the data set `name`, which is then in the cache.

        A mirror's file is used even if it cannot be cached. A data set from outside the catalogue hands over
        an `Entry` of its own. Raises `DfaError` with all that was tried.
        """
        item = name if isinstance(name, Entry) else entry(name)
        return self._obtain(item, file, must_land=False)

    def fetch(self, name: str) -> None:
        """Bring every raw file of `name` into the cache. Raises `DfaError` if that cannot be done."""
        for file in entry(name).files:
            self._obtain(entry(name), file, must_land=True)

    def available(self, name: str) -> str | None:
        """`None` when `name` can be had, else the reason, within about `PROBE_SECONDS`.

        Local copies are judged by their size alone: a corrupt copy is to be an error that names it, not a
        reason to take another data set silently.
        """
        item = entry(name)
        missing = tuple(file for file in item.files if self._locate(item, file) is None)
        if not missing:
            return None
        looked = f"{missing[0].name} is neither in the cache ({self.cache or 'none'}) nor in a mirror folder"
        if not self.network:
            return f"{looked}, and the network is switched off"
        from dfa_cli.data import network  # 50 ms of urllib and ssl, which a run on cached data does without

        reason = network.reachable(missing, min(PROBE_SECONDS, self.timeout))
        return None if reason is None else f"{looked}, and the network does not offer it ({reason})"

    def where(self, name: str) -> str:
        """Where `name` is now, in a word or two and without asking the network."""
        item = entry(name)
        if not item.files:
            return "embedded"
        roots = {self._locate(item, file) for file in item.files}
        if None in roots:
            return "to be fetched"
        mirrors = [root for root in self.mirrors if root in roots]
        return f"mirror {mirrors[0]}" if mirrors else "cached"

    def verify(self, name: str) -> Iterator[Found]:
        """Every copy of every raw file of `name`, in the cache and in the mirrors, read and compared."""
        item = entry(name)
        for file in item.files:
            paths = [path for root in self._roots() for path in _copies(root, item, file)]
            if not paths:
                yield Found(file, "missing")
            for path in paths:
                try:
                    content.read(path, file)
                except UnusableError as error:
                    yield Found(file, "corrupt", path, str(error))
                else:
                    yield Found(file, "ok", path)

    def keep(self, relative: str, data: bytes) -> None:
        """Store `data` in the cache as `relative`, if the cache can be written."""
        if self.cache is not None:
            try:
                with landing(self.cache / relative) as out:
                    out.write(data)
            except OSError as error:
                self._say(
                    f"the cache {self.cache} cannot be written ({_words(error)}): {relative} is not kept"
                )

    def _obtain(self, item: Entry, file: RawFile, must_land: bool) -> bytes:
        tried: list[str] = []
        for root in self._roots():
            copies = _copies(root, item, file)
            for path in copies:
                try:
                    data = content.read(path, file)
                except UnusableError as error:
                    tried.append(f"{path} is corrupt ({error})")
                    self._say(f"{tried[-1]}; looking for another copy")
                    continue
                if path != self._place(item, file):
                    self._land(item, file, data, path, must_land)
                return data
            if not copies:
                label = "cache" if root == self.cache else "mirror"
                lacks = "does not have it" if os.path.isdir(root) else "does not exist"
                tried.append(f"the {label} {root} {lacks}")
        if not self.network:
            raise _not_found(item, file, [*tried, "the network is switched off"])
        return self._download(item, file, tried)

    def _download(self, item: Entry, file: RawFile, tried: list[str]) -> bytes:
        from dfa_cli.data import network

        place = self._place(item, file)
        try:
            if place is None:
                return network.download(file, self.timeout, self._silent)
            # The part file is opened first: a cache that cannot be written is known before the transfer.
            with landing(place) as out:
                data = network.download(file, self.timeout, self._silent)
                out.write(data)
            return data
        except UnusableError as error:
            raise _not_found(item, file, [*tried, str(error)]) from error
        except OSError as error:
            raise self._unwritable(error) from error

    def _land(self, item: Entry, file: RawFile, data: bytes, origin: Path, must_land: bool) -> None:
        place = self._place(item, file)
        if place is None:
            return
        try:
            with landing(place) as out:
                out.write(data)
        except OSError as error:
            if must_land:
                raise self._unwritable(error) from error
            self._say(
                f"the cache {self.cache} cannot be written ({_words(error)}): "
                f"reading from {origin.parent} directly"
            )

    def _unwritable(self, error: OSError) -> DfaError:
        return DfaError(cannot_write(f"the cache {self.cache}", error, "DFA_DATA_DIR=FOLDER"))

    def _roots(self) -> list[Path]:
        return [*([] if self.cache is None else [self.cache]), *self.mirrors]

    def _place(self, item: Entry, file: RawFile) -> Path | None:
        return None if self.cache is None else self.cache / item.folder / "raw" / file.name

    def _locate(self, item: Entry, file: RawFile) -> Path | None:
        """The first folder with a plausible copy of `file`."""
        for root in self._roots():
            for path in _copies(root, item, file):
                if path.suffix == ".gz" or os.path.getsize(path) == file.size:
                    return root
        return None

    def _say(self, message: str) -> None:
        if message not in self._said:  # a cache that cannot be written is one line, not one for each file
            self._said.add(message)
            self.warn(message)


def _copies(root: Path, item: Entry, file: RawFile) -> list[Path]:
    """The copies of `file` under `root`, in the layouts that are understood, decompressed ones first."""
    folders = (
        root / item.folder / "raw",
        root / item.folder,
        root / item.name / "raw",
        root / item.name,
        root,
    )
    paths = [folder / name for folder in folders for name in (file.name, f"{file.name}.gz")]
    return [path for path in paths if os.path.isfile(path)]


def _cache_folder(data_dir: str | None) -> Path:
    chosen = data_dir or os.environ.get("DFA_DATA_DIR")
    if chosen:
        return Path(chosen).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_cache_dir("dfa", appauthor=False))


def _folders(mirror: str) -> list[Path]:
    """The folders a mirror's name can mean: those that exist, or the first, to be named in an error."""
    path = Path(mirror).expanduser()
    checkout = Path(__file__).resolve().parents[2]
    bases = [checkout] if (checkout / "pyproject.toml").is_file() else []
    candidates = [Path(os.path.normpath(base / path)) for base in (*bases, Path.cwd())]
    return [folder for folder in candidates if os.path.isdir(folder)] or candidates[:1]


def _not_found(item: Entry, file: RawFile, tried: list[str]) -> DfaError:
    return DfaError(
        f"{file.name} of data set {item.name} cannot be had: {'; '.join(tried)}; run `dfa data fetch "
        f"{item.name}` where there is a network, or put its files into FOLDER/{item.folder}/raw and set "
        "DFA_DATA_MIRROR=FOLDER"
    )


def _words(error: OSError) -> str:
    return error.strerror or str(error)
