"""The commands that read records, as a user runs them: output, errors, pipes, files."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from reading import Call
from run_factory import Factory

from dfa_cli.console.chart import draw
from dfa_cli.errors import DfaError

CALL = "from dfa_cli.cli import main; main()"


def test_runs_lists_newest_first(swept: Path, call: Call):
    lines = call("runs").stdout.splitlines()
    assert lines[0].split() == [
        "id",
        "when",
        "status",
        "model",
        "data",
        "rule",
        "device",
        "seed",
        "test",
        "%",
        "time",
    ]
    assert lines[1].split()[-5:-1] == ["–", "4", lines[1].split()[-3], lines[1].split()[-2]]
    assert len([line for line in lines if " gcn " in line]) == 23
    assert "failed in epoch 7: RuntimeError: the loss is NaN" in "\n".join(lines)
    assert "test %: test accuracy at best validation epoch" in lines


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        (["--status", "failed"], 1),
        (["--status", "failed,completed"], 23),
        (["--where", "rule=dfa and seed<2"], 4),
        (["--limit", "3"], 3),
        (["--limit", "0"], 23),
        (["--since", "2026-11-01T08:20+00:00"], 4),
        (["--since", "2026-11-01T08:20+00:00", "--where", "seed=4"], 1),
    ],
)
def test_runs_can_be_selected(swept: Path, call: Call, arguments: list[str], count: int):
    assert len(json.loads(call("runs", *arguments, "--format", "json").stdout)) == count


@pytest.mark.parametrize("command", ["runs", "compare", "export", "verify"])
def test_a_command_that_reads_many_runs_takes_one_as_show_does(
    swept: Path, call: Call, tmp_path: Path, command: str
) -> None:
    listed = json.loads(call("runs", "--format", "json").stdout)
    newest, other = listed[0]["id"], listed[3]["id"]

    def answer(*words: str) -> str:
        more = ("--out", str(tmp_path / f"runs{'-'.join(words)}.csv")) if command == "export" else ()
        text = call(command, *words, *more).stdout
        return Path(more[1]).read_text() if more else text

    of_last = answer("last")
    assert of_last == answer(newest)
    assert of_last != answer()
    if command == "runs":
        assert newest in of_last
        assert other not in of_last
        assert other in answer("last", other)


def test_runs_in_json_is_json_whatever_a_record_holds(factory: Factory, call: Call):
    for value in (float("nan"), float("inf")):
        factory.run(config={"seed": value})
    for words in (("runs",), ("compare", "--by", "seed"), ("show", "last", "--json")):
        form = () if words[0] == "show" else ("--format", "json")
        text = call(*words, *form).stdout
        assert "null" in text
        json.loads(text, parse_constant=_refuse)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def test_long_names_are_cut_in_the_list_of_a_terminal(
    factory: Factory, call: Call, monkeypatch: pytest.MonkeyPatch
):
    factory.run(rule="a_rule_of_my_own_" * 4, config={"rule.needs": "projection"})
    factory.run(seed=1, status="failed")
    assert "a_rule_of_my_own_" * 4 in call("runs").stdout
    monkeypatch.setattr("dfa_cli.console.output.terminal_width", lambda: 80)
    lines = call("runs").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    heading, failed, long = (line for line in lines if "  " in line)
    assert heading.split() == ["id", "when", "status", "rule", "seed", "test", "%", "time"]
    assert failed.index(" dfa") + 1 == long.index("a_rule_of_my_") == heading.index("rule")


@pytest.mark.parametrize("value", [2.5, "7", 1e300, 10**400, -1, True])
@pytest.mark.parametrize("name", ["best_epoch", "last_epoch"])
def test_a_record_with_an_epoch_that_is_none_is_skipped(
    name: str, value: object, factory: Factory, call: Call
):
    factory.run(seed=0)
    path = factory.run(seed=1) / "run.json"
    record = json.loads(path.read_text())
    record["result"][name] = value
    path.write_text(json.dumps(record))
    said = call("runs")
    assert f"dfa does not write such values for result.{name}" in said.stderr
    assert len(json.loads(call("runs", "--format", "json").stdout)) == 1


def test_runs_csv(swept: Path, call: Call):
    rows = list(csv.DictReader(call("runs", "--format", "csv").stdout.splitlines()))
    assert len(rows) == 23
    assert 0 < float(rows[0]["test_accuracy_at_best_validation"]) < 1
    assert Path(rows[0]["folder"], "run.json").is_file()


def test_runs_errors(swept: Path, call: Call, tmp_path: Path):
    for arguments, words in (
        (["--status", "done"], "'done' is not one of completed, failed, interrupted, killed, running"),
        (["--since", "last week"], r"--since last week: expected a date \(2026-11-22"),
        (["--where", "rule="], "expected a value at character 6"),
        (["--where", "seed>50"], r'none of the 23 runs in outputs fulfils --where "seed>50"'),
        (["--format", "xml"], "'xml' is not one of"),
        (["elsewhere"], "no runs found: elsewhere is not there"),
    ):
        with pytest.raises(DfaError, match=words):
            call("runs", *arguments)
    (tmp_path / "file").touch()
    with pytest.raises(DfaError, match="file is a file, not a folder"):
        call("runs", "file")


def test_damaged_folders_are_named_and_skipped(swept: Path, call: Call):
    for i in range(8):
        (swept / f"broken{i}").mkdir()
        (swept / f"broken{i}" / "run.json").write_text("{")
    for command in ("runs", "compare"):
        result = call(command)
        assert result.stderr.count("skipped outputs/broken") == 5
        assert "skipped 3 more folders" in result.stderr
        assert "broken" not in result.stdout
    assert call("runs", "--skipped").stderr.count("skipped outputs/broken") == 8


def test_show_prints_the_whole_record(factory: Factory, call: Call):
    factory.run(device="opu_sim", seed=3, accuracy=0.8125, record={"id": "abcd1234"})
    shown = call("show", "abcd", "--all").stdout
    for words in (
        r"run abcd1234  completed",
        r"chosen +data=cora model=gcn rule=dfa device=opu_sim",
        r"test accuracy at best validation epoch +81\.2 %",
        r"test accuracy at last epoch +81\.0 %",
        r"split +public Planetoid split \(140 train, 500 validation, 1000 test\)",
        r"frames +5,600\n",
        r"modelled energy +84\.0 J",
        r"saturated fraction +0\.001",
        r"SNR, calibration pattern, dB +28\.46\n",
        r"SNR, one component lit, dB +22\.17\n",
        r"training steps +20\n",
        r"set by hand +rule=dfa device=opu_sim seed=3",
        r"  optimizer:\n    _target_: torch.optim.Adam\n    lr: 0.02",
        r"command +dfa train model=gcn rule=dfa seed=3",
        r"git +0123456789abcdef",
        r"accuracy, %: t train, v validation, \* test",
        r"epoch 20",
    ):
        assert re.search(words, shown), words
    assert json.loads(call("show", "last", "--json").stdout)["id"] == "abcd1234"
    factory.run(choices={"experiment": "depth"}, config={"precision": "bf16"})
    of_experiment = call("show", "last").stdout
    assert re.search(r"overrides +rule=dfa device=cpu seed=0\n", of_experiment), "a grid is not set by hand"
    assert re.search(r"chosen .* precision=bf16\n", of_experiment)
    factory.run(record={"code": {"files": {"mine.py": "3f2a9c01" + "0" * 56, "cell": None}}})
    for words in (("show", "last"), ("show", "last", "--all")):
        assert re.search(r"own code +mine\.py 3f2a9c01, cell no file\n", call(*words).stdout)


def test_show_fits_on_one_screen(factory: Factory):
    folder = factory.run(device="opu_sim", accuracy=0.8125, record={"id": "abcd1234"})
    shown = in_a_terminal(["show", str(folder)])[1]
    for words in (
        r"run abcd1234  completed",
        r"chosen +data=cora model=gcn rule=dfa device=opu_sim",
        r"set by hand +rule=dfa device=opu_sim seed=0",
        r"test accuracy +81\.2 % at the best validation epoch \(10\)",
        r" +81\.0 % at the last epoch \(20 of 20\)",
        r"split +public Planetoid split \(140 train",
        r"accuracy, %: t train, v validation, \* test",
        r"epoch 20",
        r"time +3\.\d+ s in all, 1\.40 s training, 0\.200 s reading data",
        r"memory +512 MB",
        r"optics +5,600 frames, modelled 2\.80 s, 84\.0 J \(140 ms, 4\.20 J a step\)\s",
        r"SNR 28\.5 dB \(calibration pattern\), 22\.2 dB \(one component lit\)\s",
        r"dfa show abcd1234 --all",
    ):
        assert re.search(words, shown), words
    for word in ("command", "host", "checksums", "_target_", "loss"):
        assert word not in shown
    lines = shown.splitlines()
    assert len(lines) <= 24
    assert max(len(line) for line in lines if not line.startswith("folder")) <= 80


@pytest.mark.parametrize("how", [[], ["--all"]])
def test_show_tells_that_a_run_was_resumed_in_other_processes(factory: Factory, call: Call, how: list[str]):
    first, later = (
        {"at": f"2020-01-0{day}T12:00:00Z", "epoch": 4 * day, "stages": 1 + day} for day in (1, 2)
    )
    factory.run(record={"resumed": [first, later]})
    assert re.search(
        r"resumed +2 times, last on 2020-01-02, after epoch 8, in 3 stages\n",
        call("show", "last", *how).stdout,
    )
    factory.run(record={"resumed": [{**first, "stages": "x"}, None]})
    assert re.search(r"resumed +2020-01-01, after epoch 4\n", call("show", "last", *how).stdout)


@pytest.mark.parametrize("how", [[], ["--all"]])
def test_show_a_failure(factory: Factory, call: Call, how: list[str]):
    folder = factory.run(status="failed", curves=False)
    shown = call("show", "last", *how).stdout
    assert re.search(r"error +RuntimeError: the loss is NaN \(epoch 7\)", shown)
    assert "nothing was measured" in shown
    assert str(Path(folder).relative_to(Path.cwd()) / "run.log") in shown


def test_show_prints_no_control_characters_of_a_record(factory: Factory, call: Call):
    odd = "\x1b[2J\x1b]0;owned\x07\x9b2J"
    factory.run(record={"id": "aaaa0000"})
    factory.run(
        config={"note": odd, odd: 1},
        choices={"model": odd, odd: "x"},
        record={"provenance": {odd: odd, "versions": {odd: odd}}, "id": "bbbb0000"},
    )
    form = ("--format", "json")
    for command in (
        ["show", "bbbb"], ["show", "bbbb", "--all"], ["show", "bbbb", "--json"], ["runs"], ["runs", *form],
        ["compare"], ["compare", *form], ["compare", "--by", "seed"], ["diff", "aaaa", "bbbb"],
    ):  # fmt: skip
        said = call(*command).stdout
        assert not set("\x1b\x07\x9b") & set(said)
        if "json" in command[-1]:
            json.loads(said)


def test_the_terminal_chart():
    lines = draw({"*": [0.0, 0.5, 1.0]}, [1, 2, 3], width=24, height=5)
    assert lines[0].startswith("  1 +")
    assert lines[0].rstrip().endswith("*")
    assert lines[4].startswith("  0 +*")
    assert lines[-1].strip() == "1           epoch 3"
    assert all(len(line) <= 24 for line in lines)
    assert all(line.isascii() for line in lines)
    assert "".join(lines).count("*") == 19  # the points are joined without a gap
    assert draw({"*": []}, []) == []
    lines = draw({"*": [0.5]}, [1], width=24, height=3)
    assert lines[-1].strip() == "epoch 1", "an axis with one epoch has no other end"
    assert lines[1].index("*") == lines[-1].index("e"), "the point stands above its epoch"
    assert draw({"*": [None, 0.25]}, [1, 2], width=24)


def test_diff(factory: Factory, call: Call):
    factory.run(rule="bp", seed=0, record={"id": "aaaa0000"})
    factory.run(rule="dfa", seed=0, config={"threads": 8}, record={"id": "bbbb0000"})
    factory.run(rule="dfa", seed=0, record={"id": "cccc0000"})
    shown = call("diff", "aaaa", "bbbb").stdout
    configuration, irrelevant = shown.split("Changes nothing in the result")
    assert re.search(r"rule +bp +dfa", configuration)
    assert re.search(r"optimizer\.lr +0\.01 +0\.02", configuration)
    assert re.search(r"rule\.scale +– +1", configuration)
    assert re.search(r"device +– +cpu", configuration), "bp has no device"
    assert "\n  seed " not in configuration
    assert re.search(r"threads +2 +8", irrelevant)
    assert "tuned" not in shown
    assert "The two runs have the same configuration and identity." in call("diff", "bbbb", "cccc").stdout


def test_clean_lists_asks_and_keeps_completed_runs(
    factory: Factory, call: Call, monkeypatch: pytest.MonkeyPatch
):
    done = factory.run(seed=0)
    running = factory.run(seed=1, status="running")
    doomed = [factory.run(seed=2, status="failed"), factory.run(seed=3, status="interrupted")]
    made_by = json.loads((running / "run.json").read_text())["provenance"]
    doomed.append(factory.run(seed=4, status="running", record={"provenance": {**made_by, "pid": 2**22 + 1}}))
    with pytest.raises(DfaError, match="to delete 3 runs without being asked, give --yes"):
        call("clean")
    assert all(folder.is_dir() for folder in doomed)
    result = call("clean", "--yes", "--where", "seed=2")
    assert "deleted 1 of 1 run" in result.stdout
    assert not doomed[0].exists()
    result = call("clean", "--yes")
    assert "killed" in result.stdout
    assert "interrupted" in result.stdout
    assert "deleted 2 of 2 runs" in result.stdout
    assert not any(folder.exists() for folder in doomed)
    assert done.is_dir()
    assert running.is_dir()
    assert "nothing to clean" in call("clean", "--yes").stdout
    assert "nothing to clean" in call("clean", "--yes", "--status", "completed,running").stdout
    assert done.is_dir()


def test_clean_keeps_runs_that_changed_meanwhile_or_contain_others(factory: Factory, call: Call):
    from dfa_cli.records.clean import removable, remove
    from dfa_cli.records.find import find

    again = factory.run(seed=0, status="failed")
    outer = factory.run(seed=1, status="failed", folder="outer")
    inner = factory.run(seed=2, folder="outer/inner")
    runs = removable(find([factory.root]).runs)
    whole = (again / "run.json").read_text()
    (again / "run.json").write_text(whole.replace('"failed"', '"running"'))
    reasons = [reason for _, reason in remove(runs)]
    assert sorted(reasons) == ["it is running now", "its folder holds 1 other run"]
    assert again.is_dir()
    assert outer.is_dir()
    assert inner.is_dir()


def test_clean_keeps_folders_with_files_that_are_no_runs(factory: Factory, call: Call):
    run = factory.run(seed=0, status="failed")
    other = factory.run(seed=1, status="failed")
    (run / "thesis.txt").write_text("years")
    (other / ".run.json.123.tmp").write_text("cut short")
    result = call("clean", "--yes")
    assert "thesis.txt" in result.output
    assert (run / "thesis.txt").read_text() == "years"
    assert (run / "run.json").exists()
    assert not other.exists()


def test_compare_writes_files_by_their_suffix(swept: Path, call: Call):
    for name, start in (
        ("t.md", "**test"),
        ("t.tex", "% needs"),
        ("t.csv", "rule,"),
        ("t.json", "{"),
        ("t.txt", "test accuracy"),
    ):
        call("compare", "--out", name)
        assert Path(name).read_text("utf-8").startswith(start)
        with pytest.raises(DfaError, match=f"{name} is already there; give --force"):
            call("compare", "--out", name)
        call("compare", "--out", name, "--force")
    assert not list(Path().glob(".t.*"))
    with pytest.raises(DfaError, match=r"the folder .*nowhere is not there"):
        call("compare", "--out", "nowhere/t.md")
    with pytest.raises(DfaError, match="outputs is a folder"):
        call("compare", "--out", "outputs")


def test_compare_takes_any_number_of_folders(factory: Factory, call: Call):
    factory.run(rule="bp", folder="one/a")
    factory.run(rule="dfa", folder="two/b")
    factory.run(rule="shallow", folder="three/c")
    whole = json.loads(call("compare", "outputs/one", "outputs/two", "--format", "json").stdout)
    assert [group["rule"] for group in whole["groups"]] == ["bp", "dfa"]


def run(arguments: list[str], **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", CALL, *arguments],
        capture_output=True,
        env={**os.environ, **environment},
        check=False,
    )


def test_a_pipe_is_plain_whatever_the_encoding(swept: Path):
    plain = run(["compare", str(swept)], COLUMNS="40", FORCE_COLOR="1")
    assert plain.returncode == 0
    assert b"\x1b" not in plain.stdout
    assert (
        max(len(line) for line in plain.stdout.decode().splitlines()) > 90
    )  # no line is wrapped or truncated
    ascii_only = run(["compare", str(swept)], PYTHONIOENCODING="ascii")
    assert ascii_only.returncode == 0, ascii_only.stderr
    assert b"+/-" in ascii_only.stdout
    assert ascii_only.stdout.isascii()


def test_a_closed_pipe_ends_the_command_silently(swept: Path):
    process = subprocess.Popen(
        [sys.executable, "-c", CALL, "runs", str(swept)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 0


def in_a_terminal(arguments: list[str], typed: bytes = b"", **environment: str) -> tuple[int, str]:
    """Run a command in a terminal of 80 columns. Returns its exit code and its output."""
    pty = pytest.importorskip("pty", reason="needs a pseudo-terminal")
    import fcntl
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    clean = {name: held for name, held in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-c", CALL, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**clean, "TERM": "xterm", "PYTHONIOENCODING": "utf-8", **environment},
    )
    os.close(theirs)
    os.write(ours, typed)
    raw = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # the command has closed the terminal
            break
        if not part:
            break
        raw += part
    os.close(ours)
    return process.wait(), raw.decode()


@pytest.mark.parametrize("no_colour", ["", "1"])
def test_output_fits_a_terminal_of_80_columns(swept: Path, no_colour: str):
    code, shown = in_a_terminal(["runs", str(swept)], NO_COLOR=no_colour)
    assert code == 0
    assert ("\x1b[31mfailed\x1b[0m" in shown) == (not no_colour)
    bare = re.sub(r"\x1b\[\d+m", "", shown)
    assert max(len(line) for line in bare.splitlines()) <= 80
    assert "in all of them: data cora" in bare


def test_clean_asks_in_a_terminal(factory: Factory):
    doomed = factory.run(status="failed")
    code, shown = in_a_terminal(["clean", str(factory.root)], typed=b"n\n")
    assert re.search(r"delete 1 run \([\d.]+ kB\)\? \[y/N\]", shown)
    assert code == 1
    assert doomed.is_dir()
    code, shown = in_a_terminal(["clean", str(factory.root)], typed=b"y\n")
    assert code == 0
    assert "deleted 1 of 1 run" in shown
    assert not doomed.exists()


def test_every_command_has_help_and_an_example(call: Call):
    for command in ("runs", "show", "compare", "plot", "report", "diff", "clean", "export"):
        shown = call(command, "--help").stdout
        assert "Usage:" in shown
        assert "<bool>" not in shown, "a flag takes no value"
        assert "default: outputs" in shown, "rich takes text in square brackets for markup and drops it"
