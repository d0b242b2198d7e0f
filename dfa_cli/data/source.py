"""Finds raw files in the cache, in mirror folders and on the network, in that order, and checks each of them."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dfa_cli.console.values import enumeration
from dfa_cli.data import checksums
from dfa_cli.data.catalogue import Entry, RawFile, entry
from dfa_cli.data.checksums import UnusableError
from dfa_cli.errors import DfaError
from dfa_cli.machine.files import cannot_write, open_atomically_in_new_folder

DEFAULT_MIRRORS = ("../shared/datasets",)
PROBE_SECONDS = 3.0  # the most time for finding out whether a server offers a file


class MissingDataError(DfaError):
    """A raw file cannot be had. The message lists all that was tried, and what every server answered.

    `item`: the data set. `damaged`: a sentence about each copy that was found and is corrupt.
    """

    def __init__(self, message: str, item: Entry, damaged: Sequence[str]):
        super().__init__(message)
        self.item = item
        self.damaged = damaged


@dataclass(frozen=True)
class CheckedCopy:
    """The result of checking one copy of a raw file.

    `state`: `ok`, `corrupt` or `missing`. `detail`: what was expected and what was found.
    """

    file: RawFile
    state: str
    path: Path | None = None
    detail: str = ""


@dataclass(frozen=True)
class Source:
    """Gives data sets their raw files. Each file is checked by SHA-256 before anything parses it.

    `cache`: the folder that keeps what was copied or downloaded; `None` keeps nothing.
    `mirrors`: folders that already hold files, as `NAME/raw/FILE`, `NAME/FILE` or just `FILE`.
    `network`: whether files may be downloaded.
    `timeout` [s]: for each connection.
    `warn`: called with one line about every copy that could not be used.
    """

    cache: Path | None
    mirrors: Sequence[Path] = ()
    network: bool = True
    timeout: float = 10.0
    warn: Callable[[str], None] = logging.getLogger("dfa_cli.data").warning
    # Hosts that did not answer; no other file is asked of them.
    _unresponsive: set[str] = field(default_factory=set, repr=False, compare=False)
    _warned: set[str] = field(default_factory=set, repr=False, compare=False)

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
        """Make a source from the keys `data_dir` and `mirrors` of a configuration.

        The environment adds to them: `DFA_DATA_MIRROR` names further mirrors, and `DFA_DATA_DIR` names the cache
        when `data_dir` is `None`. Without `data_dir` and `DFA_DATA_DIR`, the cache is the platform's cache folder.
        A relative mirror is looked for in the checkout, when the program runs from one, and in the working folder.

        Raises `DfaError` for a mirror that is an address and not a folder.
        """
        named = [mirrors] if isinstance(mirrors, str) else list(mirrors or ())
        named += [part for part in os.environ.get("DFA_DATA_MIRROR", "").split(os.pathsep) if part]
        for mirror in named:
            if not isinstance(mirror, str) or "://" in mirror:
                raise DfaError(
                    f"The mirror {mirror!r} is not a folder. A mirror must be a folder on this machine."
                )
        folders = dict.fromkeys(folder for mirror in named for folder in _mirror_folders(mirror))
        if warn is None:
            warn = logging.getLogger("dfa_cli.data").warning
        return cls(_cache_folder(data_dir), tuple(folders), network, timeout, warn)

    @classmethod
    def default(cls) -> Source:
        """Make a source with the default mirrors, for commands that read no configuration."""
        return cls.from_config(None, DEFAULT_MIRRORS)

    def read(self, name: str | Entry, file: RawFile) -> bytes:
        """Return the checked content of one raw file of the data set `name`, and keep it in the cache.

        A data set that is not in the catalogue passes its own `Entry` as `name`. A copy in a mirror is used
        even if the cache cannot be written.

        Raises `MissingDataError` with all that was tried.
        """
        item = name if isinstance(name, Entry) else entry(name)
        return self._read_or_download(item, file, must_cache=False)

    def fetch(self, name: str) -> None:
        """Bring every raw file of `name` into the cache. Raises `DfaError` if that cannot be done."""
        for file in entry(name).files:
            self._read_or_download(entry(name), file, must_cache=True)

    def available(self, name: str, seconds: float = PROBE_SECONDS) -> str | None:
        """Return `None` when the files of `name` are here or can be downloaded, else the reason in words.

        It takes about `seconds` at most. The files are not read: a copy of the right size counts, even if it
        is corrupt. Reading must then raise an error that names the copy: no other data set may silently be taken.
        """
        item = entry(name)
        missing = tuple(file for file in item.files if self._root_with_copy(item, file) is None)
        if not missing:
            return None
        absence = f"{missing[0].name} is neither in the cache ({self.cache or 'none'}) nor in a mirror folder"
        if not self.network:
            return f"{absence}, and the network is switched off"
        # The import stands here because it loads urllib and ssl. That takes 50 ms, and cached data needs neither.
        from dfa_cli.data import network

        reason = network.why_unreachable(missing, min(seconds, self.timeout))
        return None if reason is None else f"{absence}, and the network does not offer it ({reason})"

    def where(self, name: str) -> str:
        """Say in a few words where the files of `name` are now. The network is not asked."""
        item = entry(name)
        if not item.files:
            return "embedded"
        roots = {self._root_with_copy(item, file) for file in item.files}
        if None in roots:
            return "to be fetched"
        mirrors = [root for root in self.mirrors if root in roots]
        return f"mirror {mirrors[0]}" if mirrors else "cached"

    def verify(self, name: str) -> Iterator[CheckedCopy]:
        """Read and check every copy of every raw file of `name`, in the cache and in the mirrors."""
        item = entry(name)
        for file in item.files:
            paths = [path for root in self._roots() for path in _existing_copies(root, item, file)]
            if not paths:
                yield CheckedCopy(file, "missing")
            for path in paths:
                try:
                    checksums.read_checked(path, file)
                except UnusableError as error:
                    yield CheckedCopy(file, "corrupt", path, str(error))
                else:
                    yield CheckedCopy(file, "ok", path)

    def keep(self, relative: str, data: bytes) -> None:
        """Write `data` to the file `relative` of the cache. When the cache cannot be written, this only warns."""
        if self.cache is not None:
            try:
                with open_atomically_in_new_folder(self.cache / relative) as out:
                    out.write(data)
            except OSError as error:
                self._warn_once(
                    f"the cache {self.cache} cannot be written ({_error_text(error)}): {relative} is not kept"
                )

    def _read_or_download(self, item: Entry, file: RawFile, must_cache: bool) -> bytes:
        tried: list[str] = []
        damaged: list[str] = []
        for root in self._roots():
            copies = _existing_copies(root, item, file)
            for path in copies:
                try:
                    data = checksums.read_checked(path, file)
                except UnusableError as error:
                    damaged.append(f"{path} is corrupt ({error})")
                    tried.append(damaged[-1])
                    self._warn_once(f"{tried[-1]}; looking for another copy")
                    continue
                if path != self._cache_path(item, file):
                    self._copy_into_cache(item, file, data, path, must_cache)
                return data
            if not copies:
                label = "cache" if root == self.cache else "mirror"
                lacks = "does not have it" if os.path.isdir(root) else "does not exist"
                tried.append(f"the {label} {root} {lacks}")
        if not self.network:
            raise _missing_file_error(item, file, [*tried, "the network is switched off"], damaged)
        return self._download(item, file, tried, damaged)

    def _download(self, item: Entry, file: RawFile, tried: list[str], damaged: list[str]) -> bytes:
        from dfa_cli.data import network

        place = self._cache_path(item, file)
        try:
            if place is None:
                return network.download(file, self.timeout, self._unresponsive)
            # The part file is opened first, so that a cache that cannot be written is found before the download.
            with open_atomically_in_new_folder(place) as out:
                data = network.download(file, self.timeout, self._unresponsive)
                out.write(data)
            return data
        except UnusableError as error:
            raise _missing_file_error(item, file, [*tried, str(error)], damaged) from error
        except OSError as error:
            raise self._cannot_write_cache(error) from error

    def _copy_into_cache(
        self, item: Entry, file: RawFile, data: bytes, origin: Path, must_cache: bool
    ) -> None:
        place = self._cache_path(item, file)
        if place is None:
            return
        try:
            with open_atomically_in_new_folder(place) as out:
                out.write(data)
        except OSError as error:
            if must_cache:
                raise self._cannot_write_cache(error) from error
            self._warn_once(
                f"the cache {self.cache} cannot be written ({_error_text(error)}): "
                f"reading from {origin.parent} directly"
            )

    def _cannot_write_cache(self, error: OSError) -> DfaError:
        return DfaError(cannot_write(f"the cache {self.cache}", error, "DFA_DATA_DIR=FOLDER"))

    def _roots(self) -> list[Path]:
        return [*([] if self.cache is None else [self.cache]), *self.mirrors]

    def _cache_path(self, item: Entry, file: RawFile) -> Path | None:
        return None if self.cache is None else self.cache / item.folder / "raw" / file.name

    def _root_with_copy(self, item: Entry, file: RawFile) -> Path | None:
        """Find the first folder with a copy of `file` that has the right size, or is compressed."""
        for root in self._roots():
            for path in _existing_copies(root, item, file):
                if path.suffix == ".gz" or os.path.getsize(path) == file.size:
                    return root
        return None

    def _warn_once(self, message: str) -> None:
        # Without this, a cache that cannot be written would give a line for every file.
        if message not in self._warned:
            self._warned.add(message)
            self.warn(message)


def _existing_copies(root: Path, item: Entry, file: RawFile) -> list[Path]:
    """List the copies of `file` under `root`, in every layout that is known.

    In each folder the decompressed file comes before the `.gz`.
    """
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


def _mirror_folders(mirror: str) -> list[Path]:
    """List the existing folders that the name of a mirror can mean.

    When there is none, the first candidate is returned, so that an error can name it.
    """
    path = Path(mirror).expanduser()
    checkout = Path(__file__).resolve().parents[2]
    bases = [checkout] if (checkout / "pyproject.toml").is_file() else []
    candidates = [Path(os.path.normpath(base / path)) for base in (*bases, Path.cwd())]
    return [folder for folder in candidates if os.path.isdir(folder)] or candidates[:1]


def refusal(names: Sequence[str], stand_in: str) -> str:
    """Say in one sentence that data sets of the catalogue cannot be had, and what to type.

    `stand_in`: an embedded data set that the model can use.
    """
    several = "s" if len(names) > 1 else ""
    return (
        f"The data set{several} {enumeration(names)} can neither be found here nor downloaded: run `dfa data fetch "
        f"{' '.join(names)}` where there is a network, set DFA_DATA_MIRROR=FOLDER, or choose data={stand_in}, which "
        "needs no download."
    )


def _missing_file_error(item: Entry, file: RawFile, tried: list[str], damaged: list[str]) -> MissingDataError:
    return MissingDataError(
        f"{file.name} of data set {item.name} cannot be had: {'; '.join(tried)}. Run `dfa data fetch "
        f"{item.name}` where there is a network, or put its files into FOLDER/{item.folder}/raw and set "
        "DFA_DATA_MIRROR=FOLDER.",
        item,
        damaged,
    )


def _error_text(error: OSError) -> str:
    return error.strerror or str(error)
