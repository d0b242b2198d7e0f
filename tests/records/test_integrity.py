"""Damage to what a run has left is found: by every command that reads it, and all of it by `dfa verify`."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from program import Dfa, Run

from dfa_cli.records.checksums import change_of_checkpoint
from dfa_cli.records.find import find
from dfa_cli.records.record import Record
from dfa_cli.records.run import read_run

WORDS = ["data=digits", "model.hidden=[8]", "epochs=3", "progress=none"]
FLIPS = 60  # bytes of a file that are changed, one at a time


@pytest.fixture(scope="module")
def made(dfa_in: Callable[[str], Dfa]) -> tuple[Dfa, Run, bytes]:
    """A completed run, and the checkpoint of an interrupted one."""
    dfa = dfa_in("integrity")
    run = dfa.run(*WORDS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Record, "complete", lambda *_, **more: (_ for _ in ()).throw(KeyboardInterrupt))
        assert dfa.train(*WORDS, "seed=1", "checkpoint_every=2").code == 130
    (interrupted,) = [other for other in dfa.runs() if other.folder != run.folder]
    checkpoint = (interrupted.folder / "checkpoint.safetensors").read_bytes()
    shutil.rmtree(interrupted.folder)
    return dfa, run, checkpoint


def flipped(content: bytes, seed: int) -> list[bytes]:
    """Return copies of a content with one byte changed: near the start, near the end, and anywhere."""
    rng = random.Random(seed)
    places = [*range(12), *range(len(content) - 90, len(content))]
    places += [rng.randrange(len(content)) for _ in range(FLIPS)]
    return [
        content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :] for at in places
    ]


def test_every_changed_byte_of_a_record_is_refused(made: tuple[Dfa, Run, bytes], tmp_path: Path) -> None:
    _, run, _ = made
    content = (run.folder / "run.json").read_bytes()
    for changed in [*flipped(content, 0), content.replace(b"0.1", b"0.9", 1), content + b" ", content[:-1]]:
        (tmp_path / "run.json").write_bytes(changed)
        with pytest.raises(ValueError, match=r"run\.json"):
            read_run(tmp_path)
    (tmp_path / "run.json").write_bytes(content)
    assert read_run(tmp_path).record == json.loads(content)


@pytest.mark.parametrize("name", ["metrics.csv", "weights.safetensors", "packages.txt"])
def test_every_changed_byte_of_another_file_is_reported(
    name: str, made: tuple[Dfa, Run, bytes], tmp_path: Path
) -> None:
    dfa, run, _ = made
    copy = shutil.copytree(run.folder, tmp_path / "copy")
    content = (copy / name).read_bytes()
    for changed in flipped(content, 1)[::8]:
        (copy / name).write_bytes(changed)
        answer = dfa("verify", str(copy))
        assert (answer.code, answer.out.splitlines()[-1]) == (1, "1 run checked, 1 damaged")
        assert f"{name} was changed after dfa wrote it" in answer.out
    (copy / name).unlink()
    assert f"{name} is gone" in dfa("verify", str(copy)).out
    (copy / name).write_bytes(content)
    assert dfa("verify", str(copy)).out == "1 run checked, none damaged\n"


def test_every_changed_byte_of_a_checkpoint_is_reported(made: tuple[Dfa, Run, bytes], tmp_path: Path) -> None:
    content = made[2]
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(content)
    assert change_of_checkpoint(path) is None
    for changed in [*flipped(content, 2), content[:-1], content + b"0", b""]:
        path.write_bytes(changed)
        assert change_of_checkpoint(path) == "checkpoint.safetensors was changed after dfa wrote it"


def test_a_damaged_record_is_skipped_and_the_others_are_shown(
    made: tuple[Dfa, Run, bytes], tmp_path: Path
) -> None:
    dfa, run, _ = made
    shutil.copytree(run.folder, tmp_path / "whole")
    copy = shutil.copytree(run.folder, tmp_path / "changed")
    record = json.loads((copy / "run.json").read_text())
    record["result"]["test_accuracy_at_best_validation"] = 0.912
    (copy / "run.json").write_text(json.dumps(record, indent=1) + "\n")
    for command in ("runs", "compare"):
        answer = dfa(command, str(tmp_path))
        assert answer.code == 0
        assert "91.2" not in answer.out
        assert "changed: run.json was changed after dfa wrote it" in answer.sentence
    Run(copy).rewrite({**record, "result": {**record["result"], "best_validation_accuracy": 730.0}})
    (reason,) = [reason for _, reason in find([tmp_path]).skipped]
    assert reason == "run.json is damaged: dfa does not write such values for result.best_validation_accuracy"
    (copy / "run.json").unlink()
    assert "changed: run.json is gone\n" in dfa("verify", str(tmp_path)).out


def test_curves_that_were_changed_are_not_shown_and_the_run_is_not_repeated(
    made: tuple[Dfa, Run, bytes], tmp_path: Path
) -> None:
    dfa, run, _ = made
    copy = shutil.copytree(run.folder, tmp_path / "copy")
    with open(copy / "metrics.csv", "a") as file:
        file.write("4,0,1,0,1,1,9,\n")
    answer = dfa("show", str(copy))
    assert answer.code == 0
    assert "accuracy, %:" not in answer.out
    assert "metrics.csv was changed after dfa wrote it" in answer.sentence
    answer = dfa("rerun", str(copy), "--outputs", str(tmp_path / "again"))
    assert answer.code == 2
    assert "is damaged: metrics.csv was changed after dfa wrote it" in answer.sentence


def test_an_identity_that_does_not_follow_from_the_configuration_is_reported(
    made: tuple[Dfa, Run, bytes], tmp_path: Path
) -> None:
    from dfa_cli.records.checksums import with_checksum

    dfa, run, _ = made
    copy = shutil.copytree(run.folder, tmp_path / "copy")
    record = json.loads((copy / "run.json").read_text())
    record["config"]["seed"] = 7
    (copy / "run.json").write_bytes(with_checksum(record))
    assert "does not follow from the configuration" in dfa("verify", str(copy)).out
    assert dfa("rerun", str(copy), "--outputs", str(tmp_path / "again")).code == 2


def test_a_damaged_checkpoint_is_not_resumed(dfa: Dfa) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Record, "complete", lambda *_, **more: (_ for _ in ()).throw(KeyboardInterrupt))
        dfa.train(*WORDS, "checkpoint_every=2")
    (run,) = dfa.runs()
    assert dfa("verify", str(dfa.outputs)).code == 0
    path = run.folder / "checkpoint.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    answer = dfa("resume", str(run.folder))
    assert answer.code == 2
    assert "checkpoint.safetensors was changed after dfa wrote it" in answer.sentence
    path.write_bytes(content)
    assert dfa("resume", str(run.folder)).code == 0
    assert dfa("verify", str(dfa.outputs)).out == "1 run checked, none damaged\n"


@pytest.mark.parametrize(
    "value", [int("7" * 400), 1e308, "\ud800", ["\ud800"]], ids=["digits", "1e308", "half", "list"]
)
@pytest.mark.parametrize("place", ["result.last_train_loss", "config.optimizer.lr", "time.total_seconds"])
def test_one_odd_value_breaks_no_table(
    place: str, value: object, made: tuple[Dfa, Run, bytes], tmp_path: Path
) -> None:
    dfa, run, _ = made
    for seed, folder in enumerate(("whole", "odd")):
        copy = Run(shutil.copytree(run.folder, tmp_path / folder))
        record = {**copy.record, "id": f"{seed:08}", "identity": f"{seed:016}"}
        record["config"]["seed"] = seed
        if folder == "odd":
            node = record
            *parents, last = place.split(".")
            for name in parents:
                node = node[name]
            node[last] = value
        copy.rewrite(record)
    out = str(tmp_path / "runs.csv")
    for words in (
        ("runs",),
        ("compare", "--metric", "loss"),
        ("compare", "--metric", "time", "--format", "json"),
        ("export", "--out", out, "--force"),
    ):
        answer = dfa(words[0], str(tmp_path), *words[1:])
        assert answer.code == 0, answer.err
        assert "skipped" not in answer.err
    assert dfa("show", str(tmp_path / "odd")).code == 0
