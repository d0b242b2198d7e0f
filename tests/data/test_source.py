"""Raw files: the order of the places, the checks, and that no partial file is left."""

from __future__ import annotations

import errno
import gzip
import os
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from toy_data import CONTENT, Server, known, leftovers, put, register

from dfa_cli.data import checksums, network, source
from dfa_cli.data.catalogue import RawFile
from dfa_cli.data.source import Source
from dfa_cli.errors import DfaError
from dfa_cli.machine.files import open_atomically_in_new_folder

Toy = tuple[RawFile, Server, Server]
OTHER = CONTENT[::-1]


@pytest.fixture
def warnings() -> list[str]:
    return []


def test_the_cache_comes_first(toy: Toy, tmp_path: Path) -> None:
    file, first, _ = toy
    put(tmp_path / "cache", CONTENT)
    put(tmp_path / "mirror", OTHER)  # reading it would warn, and the test would fail
    assert Source(tmp_path / "cache", [tmp_path / "mirror"], warn=pytest.fail).read("toy", file) == CONTENT
    assert not first.asked


@pytest.mark.parametrize(
    "relative",
    ["Toy/raw/toy.bin", "Toy/toy.bin", "toy.bin", "toy/raw/toy.bin", "Toy/raw/toy.bin.gz", "toy.bin.gz"],
)
def test_a_mirror_comes_second_and_its_file_is_copied_into_the_cache(
    toy: Toy, tmp_path: Path, relative: str
) -> None:
    file, first, _ = toy
    put(tmp_path / "mirror", CONTENT, relative)
    here = Source(tmp_path / "cache", [tmp_path / "absent", tmp_path / "mirror"], warn=pytest.fail)
    assert here.read("toy", file) == CONTENT
    assert not first.asked
    assert (tmp_path / "cache/Toy/raw/toy.bin").read_bytes() == CONTENT
    assert leftovers(tmp_path / "cache") == ["Toy", "Toy/raw", "Toy/raw/toy.bin"]


def test_the_network_comes_last(toy: Toy, tmp_path: Path) -> None:
    file, first, second = toy
    here = Source(tmp_path / "cache", [tmp_path / "mirror"], warn=pytest.fail)
    assert here.read("toy", file) == CONTENT
    assert here.read("toy", file) == CONTENT
    assert first.asked == ["GET /toy.bin"]
    assert not second.asked
    assert leftovers(tmp_path / "cache") == ["Toy", "Toy/raw", "Toy/raw/toy.bin"]


def test_without_a_cache_nothing_is_kept(toy: Toy, tmp_path: Path) -> None:
    file, first, _ = toy
    put(tmp_path / "mirror", CONTENT)
    assert Source(None, [tmp_path / "mirror"]).read("toy", file) == CONTENT
    assert Source(None).read("toy", file) == CONTENT
    assert first.asked == ["GET /toy.bin"]


@pytest.mark.parametrize("damage", [OTHER, CONTENT[:-1], CONTENT + b"!", b""])
def test_a_corrupt_cached_file_is_reported_and_replaced(
    toy: Toy, tmp_path: Path, warnings: list[str], damage: bytes
) -> None:
    file, first, _ = toy
    cached = put(tmp_path / "cache", damage)
    put(tmp_path / "mirror", CONTENT)
    here = Source(tmp_path / "cache", [tmp_path / "mirror"], warn=warnings.append)
    assert here.read("toy", file) == CONTENT
    assert cached.read_bytes() == CONTENT
    assert not first.asked
    (line,) = warnings
    assert str(cached) in line
    assert "corrupt" in line


def test_a_corrupt_cached_file_is_replaced_from_the_network(toy: Toy, tmp_path: Path) -> None:
    file, first, _ = toy
    cached = put(tmp_path / "cache", OTHER)
    assert Source(tmp_path / "cache", warn=lambda _: None).read("toy", file) == CONTENT
    assert cached.read_bytes() == CONTENT
    assert first.asked == ["GET /toy.bin"]


def test_a_corrupt_file_without_replacement_is_an_error_that_names_every_copy(
    toy: Toy, tmp_path: Path
) -> None:
    file, _, _ = toy
    cached = put(tmp_path / "cache", OTHER)
    mirrored = put(tmp_path / "mirror", CONTENT[:100])
    here = Source(tmp_path / "cache", [tmp_path / "mirror"], network=False, warn=lambda _: None)
    with pytest.raises(DfaError) as caught:
        here.read("toy", file)
    message = str(caught.value)
    assert file.sha256 in message
    assert known("", OTHER).sha256 in message
    assert known("", CONTENT[:100]).sha256 in message
    assert str(cached) in message
    assert str(mirrored) in message
    assert "dfa data fetch toy" in message
    assert "network is switched off" in message
    assert "\n" not in message
    assert cached.read_bytes() == OTHER


def test_a_corrupt_mirror_file_is_passed_over(toy: Toy, tmp_path: Path, warnings: list[str]) -> None:
    file, _, _ = toy
    bad = put(tmp_path / "bad", OTHER)
    put(tmp_path / "good", CONTENT)
    here = Source(tmp_path / "cache", [tmp_path / "bad", tmp_path / "good"], False, warn=warnings.append)
    assert here.read("toy", file) == CONTENT
    (line,) = warnings
    assert str(bad) in line


def test_a_folder_with_the_name_of_the_file_does_not_count_as_a_copy(toy: Toy, tmp_path: Path) -> None:
    file, _, _ = toy
    (tmp_path / "mirror/Toy/raw/toy.bin").mkdir(parents=True)
    assert Source(tmp_path / "cache", [tmp_path / "mirror"], warn=pytest.fail).read("toy", file) == CONTENT


def test_an_unreadable_file_is_passed_over(
    toy: Toy, tmp_path: Path, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, _, _ = toy
    locked = put(tmp_path / "cache", CONTENT)
    really_open = Path.open

    def refuse(path: Path, mode: str = "r", *rest: Any, **options: Any) -> Any:
        if path == locked and mode == "rb":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return really_open(path, mode, *rest, **options)

    monkeypatch.setattr(Path, "open", refuse)
    assert Source(tmp_path / "cache", warn=warnings.append).read("toy", file) == CONTENT
    assert "Permission denied" in warnings[0]


SENTENCE = {"file": "the cache .* cannot be written", "full": "No space is left for the cache"}


@pytest.mark.parametrize("broken", SENTENCE)
class TestCacheThatCannotBeWritten:
    """The cache cannot be written: a file has its name (which stops root too), or the disk is full at the end."""

    @pytest.fixture
    def cache(self, broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        if broken == "file":
            (tmp_path / "cache").write_text("not a folder")
        else:

            def full(old: object, new: object) -> None:
                raise OSError(errno.ENOSPC, "No space left on device")

            monkeypatch.setattr(source.os, "replace", full)
        return tmp_path / "cache"

    def test_a_mirror_is_read_directly(
        self, broken: str, toy: Toy, tmp_path: Path, cache: Path, warnings: list[str]
    ) -> None:
        file, first, _ = toy
        put(tmp_path / "mirror", CONTENT)
        here = Source(cache, [tmp_path / "mirror"], warn=warnings.append)
        assert here.read("toy", file) == CONTENT
        assert here.read("toy", file) == CONTENT
        assert not first.asked
        (line,) = warnings  # one line for two reads
        assert str(cache) in line
        assert "cannot be written" in line

    def test_a_download_is_an_error(self, broken: str, toy: Toy, cache: Path) -> None:
        file, first, _ = toy
        with pytest.raises(DfaError, match=rf"{SENTENCE[broken]} .*DFA_DATA_DIR=FOLDER"):
            Source(cache).read("toy", file)
        if broken == "file":
            assert not first.asked  # the cache is tried before the download
        else:
            assert not cache.exists()

    def test_fetching_is_an_error_even_with_a_mirror(
        self, broken: str, toy: Toy, tmp_path: Path, cache: Path
    ) -> None:
        put(tmp_path / "mirror", CONTENT)
        with pytest.raises(DfaError, match=SENTENCE[broken]):
            Source(cache, [tmp_path / "mirror"]).fetch("toy")

    def test_a_processed_file_that_cannot_be_kept_is_only_a_warning(
        self, broken: str, toy: Toy, cache: Path, warnings: list[str]
    ) -> None:
        Source(cache, warn=warnings.append).keep("Toy/processed/graph", b"...")
        assert len(warnings) == 1


class TestNetwork:
    def test_a_missing_file_leads_to_the_second_address(self, toy: Toy, tmp_path: Path) -> None:
        file, first, second = toy
        second.files, first.files = first.files, {}
        assert Source(tmp_path).read("toy", file) == CONTENT
        assert (first.asked, second.asked) == (["GET /toy.bin"], ["GET /toy.bin"])

    @pytest.mark.parametrize("wrong", [OTHER, CONTENT[:-1], CONTENT + b"!", b""])
    def test_wrong_content_leads_to_the_second_address(self, toy: Toy, tmp_path: Path, wrong: bytes) -> None:
        file, first, second = toy
        second.files = {"toy.bin": CONTENT}
        first.files["toy.bin"] = wrong
        assert Source(tmp_path).read("toy", file) == CONTENT

    def test_wrong_content_everywhere_leaves_nothing(self, toy: Toy, tmp_path: Path) -> None:
        file, first, second = toy
        first.files["toy.bin"] = second.files["toy.bin"] = OTHER
        with pytest.raises(DfaError) as caught:
            Source(tmp_path / "cache").read("toy", file)
        assert known("", OTHER).sha256 in str(caught.value)
        assert file.sha256 in str(caught.value)
        assert not (tmp_path / "cache").exists()

    def test_a_stalled_server_is_given_up(self, toy: Toy, tmp_path: Path) -> None:
        file, first, second = toy
        second.files, first.files = first.files, {}
        first.stall.set()
        here = Source(tmp_path, timeout=0.2)
        started = time.monotonic()
        assert here.read("toy", file) == CONTENT
        assert time.monotonic() - started < 5
        (tmp_path / "Toy/raw/toy.bin").unlink()
        here.read("toy", file)
        assert first.asked == ["GET /toy.bin"]  # the first server is not asked a second time

    def test_a_slow_server_is_given_up(
        self, toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file, first, second = toy
        second.files = {"toy.bin": CONTENT}
        first.pause = 0.2  # each pause is shorter than the timeout, all together are longer
        monkeypatch.setattr(network, "MIN_BYTES_PER_SECOND", 10**9)
        assert Source(tmp_path, timeout=0.3).read("toy", file) == CONTENT
        assert second.asked

    def test_no_network_lists_what_was_tried_and_what_to_do(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        nobody = "http://127.0.0.1:9/toy.bin"  # port 9 has no listener
        file = known("toy.bin", CONTENT, nobody, "http://localhost:9/toy.bin", "no address")
        register(monkeypatch, file)
        with pytest.raises(DfaError) as caught:
            Source(tmp_path / "cache", [tmp_path / "mirror"]).read("toy", file)
        message = str(caught.value)
        assert "127.0.0.1:9 did not answer" in message
        assert "localhost:9 did not answer" in message
        assert str(tmp_path / "mirror") in message
        assert "FOLDER/Toy/raw" in message
        assert "DFA_DATA_MIRROR" in message
        assert "\n" not in message
        assert not (tmp_path / "cache").exists()

    def test_a_compressed_file_is_cached_decompressed(
        self, toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _, first, _ = toy
        file = known("toy.bin", CONTENT, first.address + "toy.bin.gz")
        register(monkeypatch, file)
        for level in (1, 9):  # two different archives of the same content
            first.files["toy.bin.gz"] = gzip.compress(CONTENT, level, mtime=level)
            cache = tmp_path / str(level)
            assert Source(cache).read("toy", file) == CONTENT
            assert leftovers(cache) == ["Toy", "Toy/raw", "Toy/raw/toy.bin"]

    def test_more_bytes_than_expected_are_not_received(
        self, toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file, first, _ = toy
        endless = first.files["toy.bin"] = bytes(2**25)
        tracemalloc.start()
        with pytest.raises(DfaError, match=f"more than the {len(CONTENT)} bytes"):
            Source(tmp_path).read("toy", file)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < len(endless) / 8


def test_a_decompression_bomb_is_not_decompressed(tmp_path: Path) -> None:
    file = known("toy.bin", bytes(2**17))
    packed = tmp_path / "toy.bin.gz"
    packed.write_bytes(gzip.compress(bytes(2**25), 9))  # 32 MiB in 32 KiB
    assert packed.stat().st_size < checksums.gzip_size_limit(file)
    tracemalloc.start()
    with pytest.raises(checksums.UnusableError, match="found more than 131072 bytes"):
        checksums.read_checked(packed, file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**21


def test_an_archive_that_is_larger_than_its_content_is_not_opened(toy: Toy, tmp_path: Path) -> None:
    packed = tmp_path / "toy.bin.gz"
    packed.write_bytes(gzip.compress(b"") * 1000)  # many gzip members that hold nothing
    with pytest.raises(checksums.UnusableError, match="larger than that"):
        checksums.read_checked(packed, toy[0])


@pytest.mark.parametrize("damage", ["truncated", "crc", "no gzip", "two files"])
def test_a_damaged_archive_is_refused(toy: Toy, tmp_path: Path, damage: str) -> None:
    file, _, _ = toy
    packed = gzip.compress(CONTENT)
    path = tmp_path / "toy.bin.gz"
    path.write_bytes(
        {
            "truncated": packed[:-12],
            "crc": packed[:-8] + bytes(8),
            "no gzip": CONTENT,
            "two files": packed + gzip.compress(b"!"),
        }[damage]
    )
    with pytest.raises(checksums.UnusableError, match=file.sha256):
        checksums.read_checked(path, file)


class TestLanding:
    def test_two_processes_download_the_same_file_at_once(self, toy: Toy, tmp_path: Path) -> None:
        file, first, _ = toy
        first.pause = 0.2  # so that both downloads overlap
        script = f"""
from pathlib import Path
from dfa_cli.data import catalogue
from dfa_cli.data.source import Source
file = catalogue.{file!r}
catalogue.CATALOGUE["toy"] = catalogue.Entry("toy", "Toy", "samples", 2, 3, 2, "", (file,))
assert len(Source(Path({str(tmp_path)!r})).read("toy", file)) == {len(CONTENT)}
"""
        jobs = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(2)]
        assert [job.wait(30) for job in jobs] == [0, 0]
        assert first.asked == ["GET /toy.bin"] * 2
        assert leftovers(tmp_path) == ["Toy", "Toy/raw", "Toy/raw/toy.bin"]
        assert (tmp_path / "Toy/raw/toy.bin").read_bytes() == CONTENT

    @pytest.mark.parametrize("interruption", [KeyboardInterrupt, ValueError])
    def test_an_interrupted_write_leaves_the_old_file(
        self, tmp_path: Path, interruption: type[BaseException]
    ) -> None:
        def stop_half_way(path: Path) -> None:
            with open_atomically_in_new_folder(path) as out:
                out.write(b"half of")
                raise interruption

        with pytest.raises(interruption):
            stop_half_way(tmp_path / "new/raw/file")
        assert leftovers(tmp_path) == []
        (tmp_path / "file").write_bytes(b"old")
        with pytest.raises(interruption):
            stop_half_way(tmp_path / "file")
        assert leftovers(tmp_path) == ["file"]
        assert (tmp_path / "file").read_bytes() == b"old"

    def test_old_part_files_of_killed_processes_are_removed(self, tmp_path: Path) -> None:
        old, young = tmp_path / ".file.1.aa.tmp", tmp_path / ".file.2.bb.tmp"
        for part in (old, young):
            part.write_bytes(b"half of")
        os.utime(old, (0, 0))
        with open_atomically_in_new_folder(tmp_path / "file") as out:
            out.write(b"all of it")
        assert leftovers(tmp_path) == [young.name, "file"]

    def test_a_written_file_has_the_usual_permissions(self, tmp_path: Path) -> None:
        (tmp_path / "usual").write_bytes(b"")
        with open_atomically_in_new_folder(tmp_path / "file") as out:
            out.write(b"...")
        assert (tmp_path / "file").stat().st_mode == (tmp_path / "usual").stat().st_mode


class TestAvailable:
    def test_a_copy_in_the_cache_or_in_a_mirror_is_enough(self, toy: Toy, tmp_path: Path) -> None:
        _, first, _ = toy
        put(tmp_path, CONTENT)
        assert Source(tmp_path).available("toy") is None
        assert Source(None, [tmp_path]).available("toy") is None
        assert not first.asked

    def test_an_embedded_data_set_is_always_available(self) -> None:
        assert Source(None, network=False).available("digits") is None

    def test_one_server_that_answers_is_enough(self, toy: Toy, tmp_path: Path) -> None:
        _, first, second = toy
        first.stall.set()
        second.files = {"toy.bin": CONTENT}
        started = time.monotonic()
        assert Source(tmp_path).available("toy") is None
        assert time.monotonic() - started < 2
        assert second.asked == ["HEAD /toy.bin"]

    def test_a_copy_of_another_size_does_not_count(self, toy: Toy, tmp_path: Path) -> None:
        put(tmp_path, CONTENT[:-1])
        reason = Source(tmp_path, network=False).available("toy")
        assert reason is not None
        assert "switched off" in reason

    def test_without_an_answer_the_reason_comes_in_time(self, toy: Toy, tmp_path: Path) -> None:
        _, first, second = toy
        for server in (first, second):
            server.stall.set()
        started = time.monotonic()
        reason = Source(tmp_path, timeout=0.3).available("toy")
        assert time.monotonic() - started < 2
        assert reason is not None
        assert str(tmp_path) in reason

    def test_the_answer_of_the_servers_is_the_reason(self, toy: Toy, tmp_path: Path) -> None:
        _, first, _ = toy
        first.files = {}
        reason = Source(tmp_path).available("toy")
        assert reason is not None
        assert "404" in reason


class TestFromConfig:
    @pytest.fixture(autouse=True)
    def clean(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("DFA_DATA_DIR", raising=False)
        monkeypatch.delenv("DFA_DATA_MIRROR", raising=False)

    def test_data_dir_comes_before_the_environment_variable(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        usual = Source.from_config(None, None).cache
        assert usual is not None
        assert usual.name == "dfa"
        monkeypatch.setenv("DFA_DATA_DIR", str(tmp_path / "env"))
        assert Source.from_config(None, None).cache == tmp_path / "env"
        assert Source.from_config(str(tmp_path / "config"), None).cache == tmp_path / "config"
        monkeypatch.setenv("DFA_DATA_DIR", "")
        assert Source.from_config(None, None).cache == usual

    def test_mirrors_of_the_configuration_come_before_those_of_the_environment(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("a", "b", "c"):
            (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("DFA_DATA_MIRROR", os.pathsep.join([str(tmp_path / "b"), "", "c"]))
        made = Source.from_config(None, ["a", str(tmp_path / "b")])
        assert list(made.mirrors) == [tmp_path / "a", tmp_path / "b", tmp_path / "c"]

    def test_a_relative_mirror_is_looked_for_in_the_checkout_too(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        checkout = Path(source.__file__).parents[2]
        if (checkout / "pyproject.toml").is_file():
            assert checkout / "conf" in Source.from_config(None, ["conf"]).mirrors

    def test_an_absent_mirror_is_named_in_the_error(self, toy: Toy, tmp_path: Path) -> None:
        made = Source.from_config(str(tmp_path), [str(tmp_path / "gone")], network=False)
        with pytest.raises(DfaError, match="gone does not exist"):
            made.read("toy", toy[0])

    def test_an_address_is_refused_as_a_mirror(self) -> None:
        with pytest.raises(DfaError, match="must be a folder on this machine"):
            Source.from_config(None, ["https://example.org/data"])


def test_finding_files_imports_neither_torch_nor_numpy() -> None:
    script = """
import sys
from dfa_cli.commands import data
assert "rich" not in sys.modules and "dfa_cli.data.source" not in sys.modules
from dfa_cli.data.source import Source
Source.default().available("digits")
assert not {"torch", "numpy", "omegaconf"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)
