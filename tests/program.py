"""Runs `dfa ...` for the tests, in this process or in a new one, and reads the runs that it leaves."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dfa_cli.data.source import Source
from dfa_cli.machine import signals

config_dir: str | None = None  # pytest's option --config-dir; conftest.py sets it before any test is imported
PATIENCE = 600.0  # seconds after which a process counts as hung: many, since other programs may use the cores
DEAD = "http://127.0.0.1:9"  # nothing listens there: a request is refused at once


@dataclass(frozen=True)
class Answer:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The error output on one line."""
        return " ".join(self.err.split())


@dataclass(frozen=True)
class Run:
    """The folder of a run, read from its files without help of dfa_cli."""

    folder: Path

    @property
    def record(self) -> dict[str, Any]:
        return json.loads((self.folder / "run.json").read_text("utf-8"), parse_constant=_refuse)

    def rewrite(self, record: dict[str, Any]) -> None:
        """Write another record, as a version of dfa that wrote no checksums would."""
        old = {name: value for name, value in record.items() if name not in ("sum", "files")}
        (self.folder / "run.json").write_text(json.dumps(old))

    @property
    def metrics(self) -> list[dict[str, str]]:
        with open(self.folder / "metrics.csv", newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    @property
    def repeatable(self) -> list[dict[str, str]]:
        """The metrics without the seconds, as text, so that equal means equal in every bit."""
        return [{name: cell for name, cell in row.items() if name != "seconds"} for row in self.metrics]

    @property
    def weights(self) -> bytes:
        return (self.folder / "weights.safetensors").read_bytes()

    @property
    def log(self) -> str:
        return (self.folder / "run.log").read_text("utf-8")


def as_first(words: Iterable[str]) -> list[str]:
    """Add the words that turn `device=opu_sim` into what it was in version 0.1.0.

    Errors were ternary, and the field of the light was constant over the pixels of a mode.
    """
    words = list(words)
    if "device=opu_sim" not in words:
        return words
    named = dict(word.split("=", 1) for word in words if word.startswith("device/"))
    words += ["device.macropixel=1", "device.frame_seconds=500.0e-6"]
    if named.get("device/camera") != "ideal":
        words.append("device.camera.photons=2500.0")
    if "device/encoding" not in named:
        words.append("device/encoding=ternary")
    holders = {"statistical": "device.readout.wrapped", "off_axis": "device.readout"}
    if holder := holders.get(named.get("device/readout", "statistical")):
        words += [f"{holder}.band_limited=false", f"{holder}.demodulation=local"]
    return words


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


class Dfa:
    """Runs `dfa ...` with an outputs folder and a cache of its own, and without a network.

    `dfa("runs")` runs a command in this process, which saves seconds. `process` and `start` use a new process.
    """

    def __init__(self, root: Path):
        self.root = root
        self.outputs = root / "outputs"
        self._started: list[subprocess.Popen[str]] = []
        found = Source.default()
        mirrors = [str(folder) for folder in (*found.mirrors, found.cache) if folder is not None]
        self.environment = {
            "DFA_DATA_DIR": str(root / "cache"),
            "DFA_DATA_MIRROR": os.pathsep.join(mirrors),
            "PYTHONWARNINGS": "",
            "COLUMNS": "80",
            **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), DEAD),
            **dict.fromkeys(("no_proxy", "NO_PROXY"), ""),
        }

    def arguments(self, *words: str) -> list[str]:
        """Add the outputs folder to the overrides, which Hydra wants without flags between them.

        Runs use one thread, since the networks here are small and tests may share the cores.
        """
        first = next((i for i, word in enumerate(words) if "=" in word and word[0] != "-"), len(words))
        threads = [] if any(word.startswith("threads=") for word in words) else ["threads=1"]
        return [*words[:first], f"outputs={self.outputs}", *threads, *words[first:]]

    def train(self, *overrides: str) -> Answer:
        """Run `dfa train ...` in this process."""
        return self("train", *self.arguments(*overrides))

    def run(self, *overrides: str) -> Run:
        """Run `dfa train ...`, which has to succeed, and return its run."""
        before = set(self.folders())
        answer = self.train(*overrides)
        assert answer.code == 0, answer.err
        (new,) = set(self.folders()) - before
        return Run(new)

    def __call__(self, *words: str) -> Answer:
        out, err = io.StringIO(), io.StringIO()
        with _as_in_a_process_of_its_own(["dfa", *words], self.environment):
            from dfa_cli.cli import main

            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                try:
                    main()
                    code: Any = 0
                except SystemExit as leaving:
                    code = leaving.code
        return Answer(code or 0, out.getvalue(), err.getvalue())

    def start(self, *words: str, program: str = "dfa_cli.cli", **more: Any) -> subprocess.Popen[str]:
        """Start a new process. It obeys Ctrl-C even if this process was started in the background."""
        ignored = signal.getsignal(signal.SIGINT)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", program, *words],
                **{
                    "stdin": subprocess.DEVNULL,
                    "stdout": subprocess.PIPE,
                    "stderr": subprocess.PIPE,
                    "text": True,
                    "cwd": self.root,
                    "env": {**os.environ, **self.environment},
                    **more,
                },
            )
        finally:
            signal.signal(signal.SIGINT, ignored)
        self._started.append(process)
        return process

    def end(self) -> None:
        """Kill what a test that failed has left running, so that it takes no time from the next ones."""
        for process in self._started:
            process.kill()
            with process:  # closes its pipes, and waits for it
                pass

    def process(self, *words: str) -> Answer:
        with self.start(*words) as process:
            try:
                out, err = process.communicate(timeout=PATIENCE)
            finally:
                process.kill()
        return Answer(process.returncode, out, err)

    def folders(self) -> list[Path]:
        return sorted(path.parent for path in self.outputs.rglob("run.json"))

    def runs(self) -> list[Run]:
        return [Run(folder) for folder in self.folders()]

    def left(self) -> list[str]:
        """Return everything below the outputs folder, including empty folders, but not the copies of changed code."""
        found = (path.relative_to(self.outputs) for path in self.outputs.rglob("*"))
        return sorted(str(path) for path in found if path.parts[0] != ".code")


@contextlib.contextmanager
def interrupted_in_epoch(number: int) -> Iterator[None]:
    """Send Ctrl-C right after this epoch has been measured."""
    from dfa_cli.records.record import Record

    measured = Record.add_epoch

    def epoch(self: Record, metrics: Any, *rest: Any) -> None:
        measured(self, metrics, *rest)
        if metrics["epoch"] == number:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Record, "add_epoch", epoch)
        yield


@contextlib.contextmanager
def _as_in_a_process_of_its_own(argv: list[str], environment: Mapping[str, str]) -> Iterator[None]:
    """Set arguments and environment for a command in this process, and restore the state of all libraries after it."""
    import urllib.request

    import torch
    from hydra.core.singleton import Singleton

    import dfa_cli.config.compose  # noqa: F401  (imported before the state is saved, so that it is restored with it)

    root = logging.getLogger()
    handlers, level, threads = root.handlers[:], root.level, torch.get_num_threads()
    state, random = Singleton.get_state(), torch.get_rng_state()
    on_signal = {number: signal.getsignal(number) for number in signals.ENDING}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", argv)
        patch.setattr(sys, "path", [*sys.path])  # --config-dir adds to it
        patch.setattr(
            urllib.request, "_opener", None
        )  # urllib caches an opener that has read the environment
        for name, value in environment.items():
            patch.setenv(name, value)
        try:
            yield
        finally:
            for handler in set(root.handlers) - set(handlers):
                handler.close()
            root.handlers[:] = handlers
            root.setLevel(level)
            Singleton.set_state(state)
            torch.set_num_threads(threads)
            torch.set_rng_state(random)
            # A command that was interrupted ignores further signals until its process ends.
            for number, handler in on_signal.items():
                signal.signal(number, handler)
