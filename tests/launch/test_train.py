"""`dfa train`, from the command to the record on disk."""

from __future__ import annotations

import fcntl
import itertools
import json
import math
import os
import pty
import re
import shlex
import signal
import statistics
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from program import PATIENCE, Dfa, Run
from safetensors.torch import load_file

from dfa_cli.config.compose import compose_run
from dfa_cli.seeding import stream_seed
from dfa_cli.training.loop import Epoch
from dfa_cli.training.progress import Progress

GRAPH = ("model=gcn", "data=digits_graph", "device=opu_sim", "optimizer.lr=0.02")
SMALL = ("data=digits", "model.hidden=[8]", "epochs=2")


def leftover_files(dfa: Dfa) -> list[str]:
    return [str(path) for path in dfa.outputs.rglob("*") if path.name.endswith((".tmp", ".part"))]


WORDS = [*GRAPH, "epochs=30", "seed=3"]


@pytest.fixture(scope="module")
def folder(dfa_in: Callable[[str], Dfa]) -> Dfa:
    return dfa_in("folder")


@pytest.fixture(scope="module")
def run(folder: Dfa) -> Run:
    """One run that many tests read."""
    return folder.run(*WORDS)


class TestAFolder:
    """A completed run leaves a folder with these files and this record, on which programs that read it may rely."""

    def test_holds_these_files_and_no_others(self, run: Run, folder: Dfa) -> None:
        names = {path.relative_to(run.folder).as_posix() for path in run.folder.rglob("*") if path.is_file()}
        hydras = {f".hydra/{name}.yaml" for name in ("config", "hydra", "overrides")}
        assert names == {
            *hydras,
            "run.json",
            "metrics.csv",
            "run.log",
            "packages.txt",
            "weights.safetensors",
        }
        assert leftover_files(folder) == []

    def test_is_named_by_time_model_data_rule_and_id(self, run: Run, folder: Dfa) -> None:
        day, name = run.folder.relative_to(folder.outputs).parts
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", day)
        found = re.fullmatch(r"\d\d-\d\d-\d\d_gcn-digits_graph-dfa_([0-9a-f]{8})", name)
        assert found
        assert found[1] == run.record["id"], "the folder and the record have different ids"

    def test_has_a_record_with_the_keys_of_format_1(self, run: Run) -> None:
        record = run.record
        for key, kind in {
            "format": int,
            "id": str,
            "identity": str,
            "status": str,
            "created": str,
            "ended": str,
            "choices": dict,
            "overrides": list,
            "config": dict,
            "result": dict,
            "time": dict,
            "peak_memory_mb": float,
            "projection": dict,
            "provenance": dict,
        }.items():
            assert isinstance(record[key], kind), key
        assert record["format"] == 1
        assert record["status"] == "completed"
        assert record["error"] is None
        assert record["data_fallback"] is None
        assert re.fullmatch("[0-9a-f]{16}", record["identity"])
        assert record["created"] < record["ended"]
        assert record["created"].endswith("+00:00")
        assert record["peak_memory_mb"] > 50

    def test_records_the_chosen_options_and_the_overrides(self, run: Run, folder: Dfa) -> None:
        record = run.record
        chosen = {
            key: record["choices"].get(key)
            for key in ("model", "data", "rule", "device", "optimizer", "experiment")
        }
        assert chosen == {
            "model": "gcn",
            "data": "digits_graph",
            "rule": "dfa",
            "device": "opu_sim",
            "optimizer": "adam",
            "experiment": None,
        }
        assert record["overrides"] == folder.arguments(*WORDS), "the user's words, no more and no less"
        assert record["config"]["seed"] == 3
        assert record["config"]["optimizer"]["lr"] == 0.02
        assert record["config"]["device"]["matrix_seed"] == 3
        assert record["config"]["compute"] in ("cpu", "cuda"), "resolved"
        assert "${" not in json.dumps(record["config"])

    def test_records_the_provenance(self, run: Run, folder: Dfa) -> None:
        provenance = run.record["provenance"]
        assert shlex.split(provenance["command"]) == ["dfa", "train", *folder.arguments(*WORDS)]
        assert provenance["cwd"] == os.getcwd()
        assert {"dfa", "python", "torch", "numpy"} <= provenance["versions"].keys()
        # The metadata of some builds leave out what they were built for: 2.11.0 is 2.11.0+cu130 there.
        assert provenance["versions"]["torch"] in (torch.__version__, torch.__version__.partition("+")[0])
        assert set(provenance["git"]) - {"diff"} == {"commit", "dirty"}
        if provenance["git"]["commit"] is not None:
            assert re.fullmatch("[0-9a-f]{40}", provenance["git"]["commit"])
            assert provenance["git"]["dirty"] in (True, False)
        for key in ("host", "platform", "processor"):
            assert provenance[key]
        assert provenance["pid"] == os.getpid()
        assert provenance["threads"] == 1
        assert provenance["compute"] == run.record["config"]["compute"]
        assert provenance["deterministic"] == (provenance["compute"] == "cpu")
        assert provenance["data_checksums"]
        assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in provenance["data_checksums"].values())

    def test_records_every_seed(self, run: Run) -> None:
        seeds = run.record["provenance"]["seeds"]
        for name in ("weights", "order", "dropout"):
            assert seeds[name] == stream_seed(3, name)
        assert {"feedback", "noise"} <= seeds.keys() or {"matrix_seed", "noise_seed"} <= seeds.keys()

    def test_has_a_line_of_metrics_for_each_epoch(self, run: Run) -> None:
        rows = run.metrics
        names = [
            "epoch",
            "train_loss",
            "train_accuracy",
            "validation_loss",
            "validation_accuracy",
            "test_accuracy",
        ]
        assert list(rows[0])[:8] == [*names, "seconds", "frames"]
        assert [int(row["epoch"]) for row in rows] == list(range(1, 31))
        seconds = [float(row["seconds"]) for row in rows]
        assert seconds == sorted(seconds)
        for row in rows:
            assert all(0 <= float(row[name]) <= 1 for name in names if name.endswith("accuracy"))
        frames = [int(float(row["frames"])) for row in rows]
        assert frames == sorted(frames), "frames so far"
        assert 0 < frames[0] <= 400, "two frames a labelled node at most"
        assert frames[-1] == run.record["projection"]["frames"]

    def test_has_a_result_that_follows_from_its_metrics(self, run: Run) -> None:
        result, rows = run.record["result"], run.metrics
        best = max(
            rows,
            key=lambda row: (
                float(row["validation_accuracy"]),
                -float(row["validation_loss"]),
                -int(row["epoch"]),
            ),
        )
        assert result["best_epoch"] == int(best["epoch"])
        assert result["best_validation_accuracy"] == float(best["validation_accuracy"])
        assert result["test_accuracy_at_best_validation"] == float(best["test_accuracy"])
        assert result["last_epoch"] == 30
        assert result["test_accuracy_at_last_epoch"] == float(rows[-1]["test_accuracy"])
        assert result["last_train_loss"] == float(rows[-1]["train_loss"])
        assert result["stopped_early"] is False
        assert result["sizes"] == {"train": 200, "validation": 300, "test": 1000}
        assert "split" in result["split"]

    def test_has_accuracies_that_are_counts_over_rows(self, run: Run) -> None:
        """The accuracies are exact fractions of 300 and of 1,000 rows. Otherwise a table would show 81.49999."""
        result = run.record["result"]
        assert result["best_validation_accuracy"] in [count / 300 for count in range(301)]
        assert result["test_accuracy_at_last_epoch"] in [count / 1000 for count in range(1001)]

    def test_records_the_number_of_projections(self, run: Run) -> None:
        projection = run.record["projection"]
        assert projection["rows"] == 30 * 200, "nodes without a label are not projected"
        assert projection["rows"] <= projection["frames"] <= 2 * projection["rows"]
        assert projection["coefficients"] == 30 * 200 * 10 * run.record["config"]["model"]["hidden"][0]
        assert projection["modelled_seconds"] > 0
        assert projection["modelled_joules"] > 0
        assert projection["measured_seconds"] > 0

    def test_has_times_that_add_up(self, run: Run) -> None:
        times = run.record["time"]
        assert 0 < times["train_seconds"] < times["total_seconds"]
        assert 0 < times["data_seconds"] < times["total_seconds"]
        ends = [0.0, *(float(row["seconds"]) for row in run.metrics)]
        epochs = [end - start for start, end in itertools.pairwise(ends)]
        assert times["steady_seconds"] == pytest.approx(statistics.median(epochs[1:]) * len(epochs))

    def test_has_weights_that_load_without_pickle(self, run: Run) -> None:
        tensors = load_file(run.folder / "weights.safetensors")
        hidden = run.record["config"]["model"]["hidden"][0]
        shapes = {
            name: tuple(value.shape) for name, value in tensors.items() if not name.startswith("feedback.")
        }
        assert shapes == {
            "blocks.0.layer.weight": (64, hidden),
            "blocks.0.layer.bias": (hidden,),
            "blocks.1.layer.weight": (hidden, 10),
            "blocks.1.layer.bias": (10,),
        }
        assert any(name.startswith("feedback.") for name in tensors), (
            "the feedback matrices are saved as well"
        )
        assert all(value.isfinite().all() for value in tensors.values() if value.is_floating_point())

    def test_has_a_log_without_a_traceback(self, run: Run) -> None:
        assert run.record["id"] in run.log
        assert "completed" in run.log
        assert "Traceback" not in run.log

    def test_has_the_files_that_hydra_writes(self, run: Run) -> None:
        overrides = (run.folder / ".hydra" / "overrides.yaml").read_text()
        assert all(word in overrides for word in WORDS)

    def test_can_be_repeated_from_its_overrides(self, run: Run, dfa_in: Callable[[str], Dfa]) -> None:
        recorded = [word for word in run.record["overrides"] if not word.startswith(("outputs=", "threads="))]
        again = dfa_in("again").run(*recorded)
        assert again.record["identity"] == run.record["identity"]
        assert again.record["id"] != run.record["id"]
        assert again.repeatable == run.repeatable
        assert again.weights == run.weights


class TestProgress:
    def test_is_shown_as_lines_in_a_pipe(self, dfa: Dfa) -> None:
        answer = dfa.train(*SMALL, "epochs=25", "rule=dfa", "device=opu_sim")
        (run,) = dfa.runs()
        assert answer.code == 0
        assert "\x1b" not in answer.out
        assert "\r" not in answer.out
        assert answer.err == ""
        wide = [line for line in answer.out.splitlines() if len(line) > 80 and str(dfa.root) not in line]
        assert not wide
        lines = [line for line in answer.out.splitlines() if re.search(r"\b\d+/25\b", line)]
        assert 3 <= len(lines) <= 15
        for word in ("loss", "train", "val", "test"):
            assert all(word in line for line in lines)
        result = run.record["result"]
        best = rf"{100 * result['test_accuracy_at_best_validation']:.1f} ?%.*best validation epoch"
        last = rf"{100 * result['test_accuracy_at_last_epoch']:.1f} ?%.*last epoch"
        assert re.search(best, answer.out)
        assert re.search(last, answer.out)
        assert result["split"] in answer.out
        assert "1,000 train" in answer.out
        assert "500 test" in answer.out
        assert f"{run.record['projection']['frames']:,} frames" in answer.out
        assert str(run.folder) in answer.out

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (["data=digits", "parallel=pipeline"], True),
            (["data=digits", "parallel=pipeline", "parallel.micro_batches=4"], False),
            (["data=digits_graph", "model=gcn", "parallel=pipeline"], False),
            (["data=digits", "parallel=data"], False),
        ],
    )
    def test_says_that_the_stages_of_a_pipeline_take_turns(
        self, words: list[str], told: bool, capsys: pytest.CaptureFixture[str]
    ) -> None:
        spec = compose_run([*words, "progress=lines"])
        with Progress(spec.config, spec.choices):
            pass
        assert ("More, such as parallel.micro_batches=4" in " ".join(capsys.readouterr().out.split())) == told

    def test_keeps_its_columns_whatever_the_loss(self, capsys: pytest.CaptureFixture[str]) -> None:
        spec = compose_run(["data=digits", "progress=lines", "epochs=5"])
        with Progress(spec.config, spec.choices) as progress:
            for epoch, loss in enumerate((2.3026, 12.3, 1234.0, 1e5, 3.4e38), 1):
                progress.show_epoch(Epoch(epoch, loss, 0.5, loss, 0.5, 0.5, 1.0))
        _, *lines = capsys.readouterr().out.splitlines()
        assert [line.partition("loss")[2] for line in lines] == [
            f" {loss}  train  50.0 %  val  50.0 %  test  50.0 %"
            for loss in ("2.303", "12.30", " 1234", "1e+05", "3e+38")
        ]

    def test_none_prints_nothing(self, dfa: Dfa) -> None:
        answer = dfa.train(*SMALL, "progress=none")
        assert (answer.code, answer.out, answer.err) == (0, "", "")

    @pytest.mark.parametrize(
        "words", [("epochs=1000", "model.hidden=[4]"), ("epochs=12", "model=gcn")], ids=str
    )
    def test_is_shown_as_a_bar_in_a_terminal_of_80_columns(self, words: tuple[str, ...], dfa: Dfa) -> None:
        data = "data=digits_graph" if "model=gcn" in words else "data=digits"
        shown = on_a_terminal(dfa, 80, "train", *dfa.arguments(data, "batch_size=null", *words))
        (run,) = dfa.runs()
        assert "\x1b[" in shown, "no bar"
        screen = Screen(80)
        screen.show(shown)
        assert screen.wrapped == 0, "a line is wider than the terminal"
        epochs = words[0].partition("=")[2]
        (bar,) = [line for line in screen.lines if f"{epochs}/{epochs}" in line]
        last = run.metrics[-1]
        assert f"{float(last['train_loss']):.3f}" in bar
        for name in ("train_accuracy", "validation_accuracy", "test_accuracy"):
            assert f"{100 * float(last[name]):.1f}" in bar, f"{name} has been cut off"
        assert any("best validation epoch" in line for line in screen.lines)
        assert len(screen.lines) < 20, "each redraw has left a line"

    def test_tells_the_rows_of_the_first_epoch_and_the_time_left_until_ctrl_c(self, dfa: Dfa) -> None:
        words = ("data=digits", "model.hidden=[64,64]", "batch_size=1", "epochs=90", "patience=80")
        shown = on_a_terminal(dfa, 80, "train", *dfa.arguments(*words), interrupted_at="left")
        assert shown.index("reading data") < shown.index("of the rows") < shown.index("at most")
        screen = Screen(80)
        screen.show(shown)
        (bar,) = [line for line in screen.lines if "epoch" in line and "/90" in line and "%" in line][:1]
        assert re.fullmatch(r"[━─]{16} epoch \d+/90, \d+ % of the rows(, at most \d+:\d\d left)?", bar), bar
        # On a busy machine Ctrl-C comes before the first epoch has been measured.
        told = ("interrupted; what was measured is in", "interrupted; nothing was measured yet")
        assert any(line.startswith(told) for line in screen.lines)

    def test_changes_no_bit_of_the_run(self, dfa: Dfa) -> None:
        words = ("data=digits", "model.hidden=[8]", "batch_size=10", "model.dropout=0.2", "epochs=2")
        shown, hidden = (dfa.run(*words, f"progress={how}") for how in ("bar", "none"))
        assert shown.repeatable == hidden.repeatable
        assert shown.weights == hidden.weights

    def test_works_in_a_narrow_terminal(self, dfa: Dfa) -> None:
        on_a_terminal(dfa, 30, "train", *dfa.arguments(*SMALL))
        (run,) = dfa.runs()
        assert run.record["status"] == "completed"


class Screen:
    """A terminal reduced to what a progress bar uses: lines, cursor up, erase, carriage return."""

    SEQUENCE = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])")

    def __init__(self, columns: int):
        self.columns = columns
        self.rows: list[list[str]] = [[]]
        self.row = self.column = self.wrapped = 0

    @property
    def lines(self) -> list[str]:
        return ["".join(row).rstrip() for row in self.rows if "".join(row).strip()]

    def show(self, text: str) -> None:
        at = 0
        while at < len(text):
            if found := self.SEQUENCE.match(text, at):
                self._obey(found[1], found[2])
                at = found.end()
                continue
            self._put(text[at])
            at += 1

    def _obey(self, argument: str, command: str) -> None:
        if command == "A":
            self.row = max(0, self.row - int(argument or 1))
        elif command == "K":
            self.rows[self.row] = [] if argument == "2" else self.rows[self.row][: self.column]

    def _put(self, character: str) -> None:
        if character == "\r":
            self.column = 0
        elif character == "\n":
            self.row += 1
            self.column = 0
            if self.row == len(self.rows):
                self.rows.append([])
        elif character.isprintable():
            if self.column >= self.columns:
                self.wrapped += 1
            row = self.rows[self.row]
            row.extend(" " * (self.column + 1 - len(row)))
            row[self.column] = character
            self.column += 1


def on_a_terminal(dfa: Dfa, columns: int, *words: str, interrupted_at: str = "") -> str:
    """Return all that `dfa ...` writes to a terminal with so many columns.

    `interrupted_at`: Ctrl-C is typed when this has been written.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    dfa.environment = {name: value for name, value in dfa.environment.items() if name != "COLUMNS"}
    environment = {
        name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR", "CI")
    }
    process = dfa.start(
        *words,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**environment, **dfa.environment, "TERM": "xterm-256color"},
    )
    os.close(theirs)
    written, code = b"", 0
    while True:
        try:
            chunk = os.read(ours, 1 << 16)
        except OSError:  # the program has closed the terminal
            break
        if not chunk:
            break
        written += chunk
        if interrupted_at and interrupted_at.encode() in written:
            process.send_signal(signal.SIGINT)
            interrupted_at, code = "", 130
    os.close(ours)
    assert process.wait(PATIENCE) == code, written.decode()
    return written.decode()


CASES = {
    "fc": ("data=digits", "model.hidden=[24,16]", "model.dropout=0.2", "batch_size=100", "epochs=3"),
    "fc bp": ("data=digits", "model.hidden=[24]", "rule=bp", "epochs=3"),
    "gcn": ("model=gcn", "data=digits_graph", "epochs=4", "rule.spread_over_edges=true"),
    "gat": ("model=gat", "data=digits_graph", "epochs=3"),
    "opu_sim": ("data=digits", "model.hidden=[24]", "batch_size=100", "device=opu_sim", "epochs=3"),
    "gcn on opu_sim": ("model=gcn", "data=digits_graph", "device=opu_sim", "epochs=4"),
}


@pytest.fixture(scope="module")
def elsewhere(dfa_in: Callable[[str], Dfa]) -> dict[str, Run]:
    """Run all cases in one other process, in the opposite order, with the threads that a run chooses itself."""
    dfa = dfa_in("elsewhere")
    code = (
        "import json, sys\n"
        "from dfa_cli.config.command import parse_command\n"
        "from dfa_cli.launch.train import train\n"
        "for name, words in json.load(sys.stdin):\n"
        "    assert train(parse_command(words, 'dfa train')) == 0\n"
    )
    order = list(reversed(CASES.items()))
    jobs = []
    for name, words in order:
        dfa.outputs = dfa.root / name
        jobs.append((name, dfa.arguments(*words, "progress=none")))
    subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(jobs),
        text=True,
        env={**os.environ, **dfa.environment},
        check=True,
        timeout=PATIENCE,
    )
    found = {}
    for name in CASES:
        dfa.outputs = dfa.root / name
        (found[name],) = dfa.runs()
    return found


class TestReproducibility:
    """The same configuration and seed give the same bits, in this process and in another one."""

    @pytest.mark.parametrize("case", CASES)
    def test_a_repeated_run_is_equal_bit_by_bit(self, case: str, elsewhere: dict[str, Run], dfa: Dfa) -> None:
        here = dfa.run(*CASES[case], "progress=none")
        there = elsewhere[case]
        assert here.record["identity"] == there.record["identity"]
        assert here.repeatable == there.repeatable
        assert here.weights == there.weights

    @pytest.mark.parametrize("case", ["fc", "opu_sim"])
    def test_another_seed_is_another_run(self, case: str, elsewhere: dict[str, Run], dfa: Dfa) -> None:
        here = dfa.run(*CASES[case], "progress=none", "seed=1")
        assert here.record["identity"] != elsewhere[case].record["identity"]
        assert here.repeatable != elsewhere[case].repeatable
        assert here.weights != elsewhere[case].weights

    def test_random_streams_are_independent(self, dfa: Dfa) -> None:
        """Another feedback matrix or another noise does not change weights, order and dropout."""
        words = (*SMALL, "device=opu_sim", "epochs=1", "batch_size=null", "progress=none")
        losses = {
            dfa.run(*words, *more).metrics[0]["train_loss"]
            for more in (
                (),
                ("device.matrix_seed=5",),
                ("device.noise_seed=5",),
                ("rule=bp",),
                ("rule=shallow",),
            )
        }
        assert len(losses) == 1

    def test_a_job_of_a_sweep_equals_the_same_run_alone(self, dfa: Dfa, elsewhere: dict[str, Run]) -> None:
        """The jobs that ran before it in the same process do not affect it."""
        answer = dfa("train", "-m", *dfa.arguments("seed=1,0", *CASES["gat"], "progress=none"))
        assert answer.code == 0
        (run,) = [run for run in dfa.runs() if run.record["config"]["seed"] == 0]
        assert run.record["identity"] == elsewhere["gat"].record["identity"]
        assert run.repeatable == elsewhere["gat"].repeatable
        assert run.weights == elsewhere["gat"].weights

    def test_threads_chosen_by_one_job_do_not_apply_to_the_next(self, dfa: Dfa) -> None:
        """A small graph uses one thread. The network after it uses as many as it would alone."""
        alone = Dfa(dfa.root / "alone")
        alone.root.mkdir()
        words = ("model.hidden=[8]", "epochs=1", "progress=none", "threads=null")
        expected = alone.run("data=digits", *words).record["provenance"]["threads"]
        answer = dfa("train", "-m", *dfa.arguments("data=digits_graph,digits", *words))
        assert answer.code == 0
        threads = {run.record["choices"]["data"]: run.record["provenance"]["threads"] for run in dfa.runs()}
        assert threads["digits"] == expected


ENDLESS = ("data=digits", "model.hidden=[8]", "batch_size=null", "epochs=1000000")


@pytest.fixture(scope="module")
def ended(dfa_in: Callable[[str], Dfa]) -> dict[str, tuple[Dfa, int, str, str]]:
    """Train four models at once, and end each in its own way after its first epochs."""
    signals = {
        "Ctrl-C": signal.SIGINT,
        "SIGTERM": signal.SIGTERM,
        "kill -9": signal.SIGKILL,
        "Ctrl-C in a sweep": signal.SIGINT,
    }
    dfas = {name: dfa_in("ended") for name in signals}
    words = {name: dfas[name].arguments(*ENDLESS) for name in signals}
    words["Ctrl-C in a sweep"] = ["-m", *words["Ctrl-C in a sweep"], "seed=0,1"]
    processes = {name: dfas[name].start("train", *words[name]) for name in signals}
    result = {}
    try:
        for name, process in processes.items():
            wait_for(
                lambda d=dfas[name]: any(lines(path) > 3 for path in d.outputs.rglob("metrics.csv")), process
            )
            process.send_signal(signals[name])
            out, err = process.communicate(timeout=PATIENCE)
            result[name] = (dfas[name], process.returncode, out, err)
    finally:
        for process in processes.values():
            process.kill()
            process.communicate()
    return result


class TestAnInterruptedRun:
    def test_that_measured_nothing_does_not_tell_of_measurements(
        self, dfa: Dfa, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted(*_: object, **more: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("dfa_cli.experiment.build_experiment", interrupted)
        answer = dfa.train("data=digits", "model.hidden=[8]")
        assert answer.code == 130
        (run,) = dfa.runs()
        assert f"interrupted; nothing was measured yet; the record is {run.folder}" in answer.sentence

    @pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM", "Ctrl-C in a sweep"])
    def test_is_recorded_as_interrupted(self, how: str, ended: dict[str, tuple[Dfa, int, str, str]]) -> None:
        dfa, code, out, err = ended[how]
        assert code == (143 if how == "SIGTERM" else 130)
        assert "Traceback" not in out + err
        assert "interrupted" in err
        (run,) = dfa.runs()
        record = run.record
        assert record["status"] == "interrupted"
        assert record["ended"] is not None
        assert record["time"]["total_seconds"] > 0
        assert record["result"]["last_epoch"] == len(run.metrics) >= 3
        assert record["result"]["test_accuracy_at_last_epoch"] == float(run.metrics[-1]["test_accuracy"])
        assert record["error"]["message"] == "interrupted"
        assert record["error"]["signal"] == ("SIGTERM" if how == "SIGTERM" else "SIGINT")
        assert "Traceback" not in run.log
        assert leftover_files(dfa) == []

    def test_that_was_killed_leaves_readable_metrics_and_a_readable_record(
        self, ended: dict[str, tuple[Dfa, int, str, str]]
    ) -> None:
        dfa, code, *_ = ended["kill -9"]
        assert code == -signal.SIGKILL
        (run,) = dfa.runs()
        assert run.record["status"] == "running"
        assert run.record["provenance"]["pid_started"] is not None
        whole = [row for row in run.metrics if row["seconds"]]
        assert len(whole) >= 3
        assert [int(row["epoch"]) for row in whole] == list(range(1, len(whole) + 1))

    def test_leaves_no_traceback_before_torch_is_imported(self, dfa: Dfa) -> None:
        with dfa.start("train", *dfa.arguments(*ENDLESS)) as process:
            wait_for(lambda: any(dfa.outputs.glob("*/*")), process)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 130
        assert "Traceback" not in err
        assert all(run.record["status"] == "interrupted" for run in dfa.runs())


def lines(path: Path) -> int:
    return path.read_text().count("\n")


def wait_for(true: Callable[[], bool], process: subprocess.Popen[str], seconds: float = PATIENCE) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, "it has not begun"
        time.sleep(0.02)


BOOM = '''
from dfa_cli.rules import Backpropagation
class Boom(Backpropagation):
    """Fails in the second step."""
    steps = 0
    def backward(self, model, batch):
        self.steps += 1
        if self.steps > 1:
            raise ZeroDivisionError("boom in the second step")
        return super().backward(model, batch)
'''


@pytest.fixture
def boom(tmp_path: Path) -> list[str]:
    """Write a user's rule with a bug. Returns the words that add it."""
    (tmp_path / "conf" / "rule").mkdir(parents=True)
    (tmp_path / "conf" / "rule" / "boom.yaml").write_text("_target_: boom.Boom\nneeds: nothing\n")
    (tmp_path / "conf" / "boom.py").write_text(BOOM)
    return ["--config-dir", str(tmp_path / "conf")]


class TestASweep:
    def test_continues_after_a_job_that_fails_by_the_users_mistake(self, dfa: Dfa) -> None:
        """Only the rule `dfa` projects, and its error does not fit on one mirror."""
        words = ("data=digits", "model.hidden=[8]", "epochs=2", "device=opu_sim", "device.limits.mirrors=1")
        answer = dfa("train", "-m", *dfa.arguments("rule=bp,dfa,shallow", *words))
        assert answer.code == 1
        assert "Traceback" not in answer.err
        status = {run.record["choices"]["rule"]: run.record["status"] for run in dfa.runs()}
        assert status == {"bp": "completed", "dfa": "failed", "shallow": "completed"}
        (failed,) = [run for run in dfa.runs() if run.record["status"] == "failed"]
        assert "mirrors" in failed.record["error"]["message"]
        assert failed.record["error"]["type"] == "DfaError"
        (line,) = [line for line in answer.out.splitlines() if line.startswith("failed: ")]
        assert "mirrors" in line
        assert str(failed.folder / "run.log") in line
        assert "Traceback" in failed.log
        assert len({run.record["id"] for run in dfa.runs()}) == 3
        assert len({run.record["identity"] for run in dfa.runs()}) == 3

    @pytest.mark.parametrize("flag", ["-m", "--multirun", "hydra.mode=MULTIRUN"])
    def test_started_by_train_is_the_same_as_dfa_sweep(self, flag: str, dfa: Dfa) -> None:
        """Equal jobs are merged, completed runs are reused, and a table is printed at the end."""
        words = dfa.arguments("rule=bp", "device=cpu,opu_sim", *SMALL, "seed=0,1", "progress=none")
        first = dfa("train", flag, *words) if flag[0] == "-" else dfa("train", *words, flag)
        assert first.code == 0, first.err
        assert "sweep of 4 combinations, 2 different runs (bp uses no device); 2 to run" in first.out
        assert "test accuracy at best validation epoch" in first.out
        assert len(dfa.runs()) == 2
        again = dfa("sweep", *words)
        assert again.code == 0
        assert "2 reused; 0 to run" in again.out
        assert len(dfa.runs()) == 2

    def test_continues_after_a_job_that_fails_by_a_bug(self, dfa: Dfa, boom: list[str]) -> None:
        answer = dfa("train", "-m", *boom, *dfa.arguments("rule=bp,boom,shallow", *SMALL, "batch_size=null"))
        assert answer.code == 1
        status = {run.record["choices"]["rule"]: run.record["status"] for run in dfa.runs()}
        assert status == {"bp": "completed", "boom": "failed", "shallow": "completed"}
        (failed,) = [run for run in dfa.runs() if run.record["status"] == "failed"]
        assert failed.record["error"]["type"] == "OwnCodeError"
        assert failed.record["error"]["message"].endswith(
            "raised ZeroDivisionError: boom in the second step."
        )
        assert "Traceback" in failed.log
        assert "boom.py" in failed.log
        assert len(failed.metrics) == 1, "the epochs before the failure are kept"
        assert failed.record["result"]["last_epoch"] == 1

    def test_puts_its_jobs_into_one_folder(self, dfa: Dfa) -> None:
        answer = dfa("train", "-m", *dfa.arguments("seed=range(3)", *SMALL))
        assert answer.code == 0
        runs = dfa.runs()
        assert sorted(run.record["config"]["seed"] for run in runs) == [0, 1, 2]
        (sweep,) = {run.folder.parent for run in runs}
        assert re.fullmatch(r"\d\d-\d\d-\d\d_sweep_[0-9a-f]{8}", sweep.name)
        for run in runs:
            number, _, name = run.folder.name.partition("_")
            assert number == str(run.record["config"]["seed"])
            assert name == run.record["id"], "the folder and the record have different ids"
            assert (run.folder / ".hydra" / "config.yaml").is_file()

    def test_started_twice_in_one_second_gets_two_folders(self, dfa: Dfa) -> None:
        words = ("train", *dfa.arguments(*SMALL, "epochs=1"))
        processes = [dfa.start(*words) for _ in range(2)]
        for process in processes:
            _, err = process.communicate(timeout=PATIENCE)
            assert process.returncode == 0, err
        assert len(dfa.folders()) == 2


class TestABug:
    def test_of_the_users_own_code_keeps_its_traceback_in_the_log(self, dfa: Dfa, boom: list[str]) -> None:
        done = dfa.process("train", *boom, *dfa.arguments("rule=boom", *SMALL, "batch_size=null"))
        assert done.code not in (0, 2, 130)
        assert "Traceback" not in done.err
        assert "raised ZeroDivisionError: boom in the second step." in done.err
        (run,) = dfa.runs()
        assert run.record["status"] == "failed"
        assert run.record["error"]["type"] == "OwnCodeError"
        assert "Traceback" in run.log
        assert "ZeroDivisionError" in run.log


class TestTheFirstLine:
    """It says what is trained, so that nobody trains another model than meant without noticing."""

    @pytest.mark.parametrize(
        ("words", "line"),
        [
            (("data=digits_graph", "device=cpu"),
             "fc [1024, 1024] on digits_graph, trained by dfa on cpu, seed 0"),
            (("model=gcn", "data=digits_graph", "device=opu_sim", "model.hidden=[8,4]", "seed=3"),
             "gcn [8, 4] on digits_graph, trained by dfa on opu_sim, seed 3"),
            (("data=digits", "model.hidden=[8]", "rule=bp"), "fc [8] on digits, trained by bp, seed 0"),
        ],
        ids=["a graph alone", "gcn", "no device"],
    )  # fmt: skip
    def test_names_model_widths_data_rule_and_device(
        self, words: tuple[str, ...], line: str, dfa: Dfa
    ) -> None:
        answer = dfa.train(*words, "epochs=1", "progress=lines")
        assert answer.code == 0, answer.err
        assert answer.out.splitlines()[0] == line


class TestHelpAndHydrasFlags:
    def test_cfg_shows_the_configuration_and_runs_nothing(self, dfa: Dfa) -> None:
        answer = dfa("train", "model=gcn", "seed=4", "--cfg", "job")
        assert answer.code == 0
        assert "seed: 4" in answer.out
        assert "dfa_cli.models.GraphConvolutional" in answer.out
        assert "dfa_cli.data.Planetoid" in answer.out

    @pytest.mark.parametrize(
        ("device", "steps"), [("opu_phase_shifting", "4"), ("opu_lighton", "5"), ("opu_holographic", None)]
    )
    def test_cfg_shows_the_statistical_read_out_that_a_run_would_use(
        self, device: str, steps: str | None, dfa: Dfa
    ) -> None:
        answer = dfa("train", f"device={device}", "device/readout=statistical", "--cfg", "job")
        found = re.search(r"wrapped:\n +_target_: (\S+)\n(?: +steps: (\d))?", answer.out)
        assert found, answer.err
        assert found[1].rpartition(".")[2] == ("PhaseShifting" if steps else "OffAxis")
        assert found[2] == steps

    @pytest.mark.parametrize(
        ("words", "sentence"),
        [
            (["tuned=null"], "type tuned=none."),
            (["rule=3"], "'3' is not one of bp, brsf"),
            (["tuned=fc_mnist_dfaa"], "did you mean fc_mnist_dfa"),
            (["~epochs"], "removes a key that every run needs"),
            (["-m", "rule=bp,dfa"], "has several values, and a configuration takes one; give one of them."),
        ],
    )
    def test_cfg_answers_a_mistake_in_a_sentence(self, words: list[str], sentence: str, dfa: Dfa) -> None:
        answer = dfa("train", *words, "--cfg", "job")
        assert answer.code == 2
        assert answer.err.startswith(f"error: {words[-1]}")
        assert answer.err.count("\n") == 1
        assert sentence in answer.err

    def test_info_shows_the_defaults_tree(self, dfa: Dfa) -> None:
        answer = dfa("train", "model=gcn", "--info", "defaults-tree")
        assert answer.code == 0
        assert re.search(r"data: cora", answer.out)

    def test_help_of_train_lists_the_groups_and_their_options(self, dfa: Dfa) -> None:
        answer = dfa("train", "--help")
        assert answer.code == 0
        for words in ("model: ", "gcn", "opu_sim", "shallow", "epochs: "):
            assert words in answer.out
        assert "needs: " not in answer.out, "a fact that a file states is no key that can be typed"
        assert "compose" not in answer.out, "the program is called dfa train"
        assert "parallel=data: parallel.replicas=2\n" in answer.out
        assert (
            "parallel=pipeline: parallel.stages=2, parallel.micro_batches=1,\n  parallel.split=null"
            in answer.out
        )
        assert "device/drift" not in answer.out.partition("Keys that come with another option")[2]
        chosen = dfa("train", "device=opu_sim", "parallel=data", "--help").out
        assert "device/drift=reference: device.drift.tau=null, device.drift.unit=steps," in chosen
        assert "\nparallel=" not in chosen

    @pytest.mark.parametrize("command", ["train", "sweep"])
    def test_help_fits_into_80_columns_and_loses_no_word(
        self, command: str, dfa: Dfa, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        words = (command, "model=gat", "device=opu_lighton", "parallel=pipeline", "--help")
        answer = dfa(*words)
        assert max(map(len, answer.out.splitlines())) <= 80
        monkeypatch.setattr("dfa_cli.launch.help.WIDTH", 10**6)
        assert dfa(*words).out.split() == answer.out.split()

    def test_help(self, dfa: Dfa) -> None:
        answer = dfa("--help")
        assert answer.code == 0
        assert "train" in answer.out

    @pytest.mark.parametrize(("typed", "meant"), [("list", "runs"), ("shwo", "show"), ("ls", "runs")])
    def test_a_command_that_is_not_there_is_answered_with_the_nearest(
        self, typed: str, meant: str, dfa: Dfa
    ) -> None:
        answer = dfa(typed, "--where", "data=digits")
        assert answer.code == 2
        assert answer.err == f"error: There is no command {typed}; type dfa {meant}. dfa --help lists them.\n"

    def test_the_version(self, dfa: Dfa) -> None:
        from dfa_cli.version import __version__

        answer = dfa("--version")
        assert (answer.code, answer.out) == (0, f"dfa {__version__}\n")

    def test_a_run_in_a_process_of_its_own_is_completed(self, dfa: Dfa) -> None:
        """The other tests here run `dfa` inside the process of pytest."""
        answer = dfa.process("train", "--cfg", "job", "epochs=7")
        assert answer.code == 0
        assert "epochs: 7" in answer.out
        assert not dfa.outputs.exists()

    def test_help_takes_little_time(self, dfa: Dfa) -> None:
        """At most 0.4 s on an idle machine. The fastest of a few tries is compared with a start of Python itself."""

        def best(*words: str) -> float:
            times = []
            for _ in range(4):
                began = time.perf_counter()
                subprocess.run([sys.executable, *words], capture_output=True, check=True)
                times.append(time.perf_counter() - began)
            return min(times)

        # Python itself starts in about 0.02 s on a machine where the limit is 0.4 s.
        assert best("-m", "dfa_cli.cli", "--help") < max(0.4, 20 * best("-c", "pass"))


class TestEarlyStopping:
    def test_is_recorded(self, dfa: Dfa) -> None:
        words = ("data=digits", "model.hidden=[8]", "optimizer=sgd", "optimizer.lr=1e-30", "progress=none")
        run = dfa.run(*words, "epochs=20", "patience=2")
        result = run.record["result"]
        assert (len(run.metrics), result["last_epoch"], result["best_epoch"]) == (3, 3, 1)
        assert result["stopped_early"] is True
        assert run.record["status"] == "completed"


def test_a_record_with_a_diverging_loss_is_valid_json(dfa: Dfa) -> None:
    """The weights diverge, so that the last validation loss is huge or not a number. JSON has no NaN or Infinity."""
    words = (
        "data=digits",
        "model.hidden=[8]",
        "optimizer=sgd",
        "optimizer.lr=1e30",
        "rule=bp",
        "batch_size=null",
    )
    dfa.train(*words, "epochs=1", "progress=none", "model.activation=relu")
    (run,) = dfa.runs()
    result: dict[str, Any] = run.record["result"] or {}  # reading refuses NaN and Infinity
    assert not any(isinstance(value, float) and not math.isfinite(value) for value in result.values())
