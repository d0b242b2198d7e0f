"""Every later version can read, compare, reuse and repeat the records of version 0.1.0, and finish interrupted runs.

records_0_1_0/README.md says how they were made.
"""

from __future__ import annotations

import copy
import json
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from program import Answer, Dfa, Run, as_first

from dfa_cli.config.identity import DROPPED, RENAMED, Dropped, identity, modernised
from dfa_cli.records.find import find

OLD = Path(__file__).parent / "records_0_1_0" / "outputs"
TINY = ["data=digits", "model.hidden=[8]", "epochs=2", "threads=1", "progress=none"]
RULES = ("bp", "dfa", "shallow", "fa", "usf", "brsf", "frsf", "drtp")
READOUTS = ("statistical", "off_axis", "phase_shifting", "intensity", "ideal")
MEDIA = ("auto", "dense", "procedural", "structured")
CPU = ["device=cpu", "compute=cpu"]  # what `auto` meant on the machine that made the records
EPOCHS = 12  # of the two runs that ended early


@pytest.fixture
def old(dfa: Dfa) -> Dfa:
    """Give `dfa` a copy of the old records in its outputs folder."""
    shutil.copytree(OLD, dfa.outputs)
    return dfa


def run_of(dfa: Dfa, *words: str, status: str = "completed") -> Run:
    """Find the single run, outside the sweeps, that was made with these words among others."""
    there = [run for run in dfa.runs() if "sweep" not in str(run.folder.relative_to(dfa.outputs))]
    (found,) = [
        run
        for run in there
        if run.record["status"] == status and {*words} <= {*run.record["overrides"], *_choices(run)}
    ]
    return found


def _choices(run: Run) -> list[str]:
    """Return the chosen options as words, such as `device=auto`, including the defaults that nobody typed."""
    return [f"{group}={option}" for group, option in run.record["choices"].items()]


def sweep(dfa: Dfa, *words: str) -> Answer:
    """Run `dfa sweep ...` whose jobs are all expected to be reused: starting a process fails."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("subprocess.Popen", None)
        return dfa("sweep", f"outputs={dfa.outputs}", *words)


def rows(dfa: Dfa, *folders: Path) -> list[dict[str, Any]]:
    answer = dfa("compare", *map(str, folders), "--format", "json")
    assert answer.code == 0, answer.err
    return json.loads(answer.out)["groups"]


def require_one_row(dfa: Dfa, before: Run) -> None:
    """Fail unless an old run and a new one, equal but for the seed, are compared in one row."""
    record = before.record
    words = [word for word in record["overrides"] if not word.startswith("seed=")]
    fresh = dfa.run(*as_first(words), "compute=cpu", "seed=7")
    (row,) = rows(dfa, before.folder, fresh.folder)
    assert row["n"] == 2
    assert identity({**fresh.record["config"], "seed": 7}) == fresh.record["identity"] != record["identity"]


def rerun(dfa: Dfa, run: Run) -> Answer:
    return dfa("rerun", str(run.folder), "--outputs", str(dfa.root / "again"))


def require_repeated(dfa: Dfa, run: Run) -> None:
    """Fail unless `dfa rerun` says that the metrics match: exactly, or within the tolerance on another processor."""
    answer = rerun(dfa, run)
    assert answer.code == 0, answer.err + answer.out
    assert "the metrics match exactly, in 2 epochs" in answer.out or "within the tolerance" in answer.out
    assert (
        "random streams: version 1 before, 4 now, so dropout or optical noise draws other numbers"
        in answer.out
    )
    (again,) = (dfa.root / "again").rglob("run.json")
    assert Run(again.parent).record["identity"] == run.record["identity"]
    shutil.rmtree(dfa.root / "again")


def require_resumed(dfa: Dfa, run: Run) -> None:
    """Fail unless `dfa resume` says that the random streams have changed since, and trains from the start when told."""
    before = run.record
    measured = run.repeatable
    assert len(measured) == 4
    answer = dfa("resume", str(run.folder))
    assert answer.code == 2
    assert "it draws dropout and optical noise from other random streams" in answer.sentence
    assert answer.sentence.endswith("`dfa resume RUN --from-start` trains from epoch 1 again.")
    assert run.record == before
    assert run.repeatable == measured
    answer = dfa("resume", str(run.folder), "--from-start")
    assert answer.code == 0, answer.err + answer.out
    after = run.record
    assert after["status"] == "completed"
    assert after["streams"] == 4
    assert after["identity"] == before["identity"]
    assert [row["epoch"] for row in run.metrics] == [str(epoch) for epoch in range(1, EPOCHS + 1)]
    assert not (run.folder / "checkpoint.safetensors").exists()


def test_all_are_found_and_read_without_a_warning(old: Dfa) -> None:
    found = find([old.outputs])
    assert found.skipped == []
    assert len(found.runs) == 27
    answer = old("runs", str(old.outputs), "--format", "json")
    assert (answer.code, answer.err) == (0, "")
    assert len(json.loads(answer.out)) == 27
    for run in found.runs:
        for more, said in (((), run.id), (("--all",), str(run.identity))):
            answer = old("show", run.folder, *more)
            assert (answer.code, answer.err) == (0, ""), run
            assert said in answer.out
    answer = old("compare", str(old.outputs))
    assert (answer.code, answer.err) == (0, "")


def test_the_identity_of_each_configuration_is_the_one_in_its_record(old: Dfa) -> None:
    for run in find([old.outputs]).runs:
        assert identity(run.record["config"]) == identity(run.config) == run.identity, run


def test_they_are_compared_by_the_names_of_today_and_an_old_one_is_answered_with_its_new_one(
    old: Dfa,
) -> None:
    run = run_of(old, "rule=dfa", "device=auto", "data=digits")
    assert run.record["config"]["decay"] == "all"
    assert run.record["config"]["rule"]["spread"] is False
    answer = old("compare", str(run.folder), "--by", "weight_decay_on,spread_over_edges")
    assert (answer.code, answer.err) == (0, "")
    for typed, said in (
        ("decay", "decay is called weight_decay_on now."),
        ("spread", "rule.spread is called rule.spread_over_edges now."),
    ):
        answer = old("compare", str(run.folder), "--by", typed)
        assert answer.code == 2
        assert answer.sentence.endswith(said)


@pytest.mark.parametrize("rule", RULES)
def test_an_old_and_a_new_run_of_a_rule_stand_in_one_row(rule: str, old: Dfa) -> None:
    require_one_row(old, run_of(old, f"rule={rule}", "device=auto", "data=digits"))


@pytest.mark.parametrize(
    "word",
    [
        *(f"device/readout={readout}" for readout in READOUTS),
        *(f"device/medium={medium}" for medium in MEDIA if medium != "auto"),
    ],
)
def test_an_old_and_a_new_run_of_an_optical_device_stand_in_one_row(word: str, old: Dfa) -> None:
    (before,) = [run for run in old.runs() if word in run.record["overrides"]]
    require_one_row(old, before)


def test_a_sweep_reuses_old_runs(old: Dfa) -> None:
    answer = sweep(old, f"rule={','.join(RULES)}", *CPU, *TINY)
    assert "sweep of 8 jobs, 8 reused; 0 to run" in answer.out, answer.err
    for readout in READOUTS:
        answer = sweep(old, *as_first(["device=opu_sim", f"device/readout={readout}", "compute=cpu", *TINY]))
        assert "sweep of 1 job, 1 reused; 0 to run" in answer.out, answer.err
    answer = sweep(
        old, f"device/medium={','.join(MEDIA)}", *as_first(["device=opu_sim", "compute=cpu", *TINY])
    )
    assert "sweep of 4 jobs, 4 reused; 0 to run" in answer.out, answer.err
    answer = sweep(old, "rule=bp,dfa", "seed=0,1", "schedule=linear", *CPU, *TINY)
    assert "sweep of 4 jobs, 4 reused; 0 to run" in answer.out, answer.err


def test_a_search_goes_on_with_its_study(old: Dfa) -> None:
    pytest.importorskip("optuna")
    ranges = "optimizer.lr=tag(log,interval(1e-3,1e-1))"
    words = ["sweeper=optuna", "sweeper.n_trials=3", "sweeper.sampler.seed=1", ranges, *TINY, "batch_size=64"]
    answer = sweep(old, *words)
    assert "3 of 3 trials are there, 0 to run" in answer.out, answer.err
    assert "best of 3 trials: optimizer.lr=0.0275" in answer.out


@pytest.mark.parametrize(
    "words", [("rule=dfa", "device=auto", "data=digits"), ("device/readout=off_axis",), ("model=gcn",)]
)
def test_a_run_is_repeated(words: tuple[str, ...], old: Dfa) -> None:
    require_repeated(old, run_of(old, *words))


def test_an_interrupted_run_is_completed(old: Dfa) -> None:
    require_resumed(old, run_of(old, status="interrupted"))


def test_a_killed_run_is_completed_on_the_machine_that_had_it(
    old: Dfa, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = run_of(old, status="running")
    answer = old(
        "resume", str(killed.folder)
    )  # on another machine nobody can tell whether its process is alive
    assert answer.code == 2
    assert "is still running" in answer.sentence
    monkeypatch.setattr(socket, "gethostname", lambda: "lab")
    require_resumed(old, killed)


def test_a_run_with_another_value_of_a_dropped_option_keeps_its_identity_and_is_not_repeated(
    old: Dfa,
) -> None:
    run = run_of(old, "device/readout=off_axis")
    record = run.record
    assert record["config"]["device"]["saturation_warning"] == 0.01
    record["config"]["device"]["saturation_warning"] = 0.5
    record["identity"] = "1ac3246647cb5337"  # of version 0.1.0
    (run.folder / "run.json").write_text(json.dumps(record))
    assert identity(record["config"]) == identity(Run(run.folder).record["config"]) == record["identity"]
    answer = rerun(old, run)
    assert answer.code == 2
    assert f"run {record['id']} was made with device.saturation_warning=0.5, an option" in answer.sentence
    assert "it computes as if it were 0.01" in answer.sentence


# names in an imaginary earlier version -> names of today
KEYS = {"rule.factor": "rule.scale", "slope": "schedule", "device.mirrors": "device.encoding"}
CLASSES = {
    "dfa_cli.rules.Direct": "dfa_cli.rules.DirectFeedbackAlignment",
    "dfa_cli.devices.opu.ThreeValued": "dfa_cli.devices.opu.Ternary",
}
GONE = {
    "rule.loudness": Dropped("dfa_cli.rules.DirectFeedbackAlignment", 7),
    "device.warmth": Dropped("dfa_cli.devices.opu.OPU", 0.5),
    "device.encoding.largest": Dropped("dfa_cli.devices.opu.Ternary", None),
    "colour": Dropped(None, "green"),
}


class TestAfterARenaming:
    """The same holds after keys and classes were renamed and options were dropped.

    The records are rewritten as an imaginary earlier version would have made them, with its names, and with the
    identities that follow from those names.
    """

    @pytest.fixture
    def aged(self, old: Dfa, monkeypatch: pytest.MonkeyPatch) -> Dfa:
        for run in old.runs():
            record = run.record
            record["config"] = self.in_old_names(record["config"])
            before, record["identity"] = record["identity"], identity(record["config"])
            assert before != record["identity"]
            claim = old.outputs / ".claims" / before
            if claim.exists():
                claim.rename(claim.with_name(record["identity"]))
            (run.folder / "run.json").write_text(json.dumps(record))
        for name, value in {**KEYS, **CLASSES}.items():
            monkeypatch.setitem(RENAMED, name, value)
        for name, gone in GONE.items():
            monkeypatch.setitem(DROPPED, name, gone)
        return old

    def in_old_names(self, config: dict[str, Any]) -> dict[str, Any]:
        config = copy.deepcopy(config)
        rule, device = config["rule"], config["device"]
        config["colour"], config["slope"] = "green", config.pop("schedule")
        if rule["_target_"].endswith(".DirectFeedbackAlignment"):
            rule["loudness"] = 7
        if "scale" in rule:
            rule["factor"] = rule.pop("scale")
        if "encoding" in device:
            device["warmth"] = 0.5
            device["mirrors"] = device.pop("encoding") | {"largest": None}
        for node in (rule, device.get("mirrors", {})):
            for then, today in CLASSES.items():
                if node.get("_target_") == today:
                    node["_target_"] = then
        return config

    def test_identities_are_those_of_the_records(self, aged: Dfa) -> None:
        for run in find([aged.outputs]).runs:
            assert identity(run.record["config"]) == identity(run.config) == run.identity, run
            assert "rule.factor" not in run.flat
            assert "rule.loudness" not in run.flat

    @pytest.mark.parametrize(
        "words", [("rule=dfa", "device=auto", "data=digits"), ("device/readout=off_axis",), ("model=gcn",)]
    )
    def test_old_and_new_runs_stand_in_one_row_and_the_old_ones_are_repeated(
        self, words: tuple[str, ...], aged: Dfa
    ) -> None:
        before = run_of(aged, *words)
        require_one_row(aged, before)
        require_repeated(aged, before)

    def test_a_sweep_reuses_old_runs(self, aged: Dfa) -> None:
        test_a_sweep_reuses_old_runs(aged)

    def test_an_interrupted_run_is_completed(self, aged: Dfa) -> None:
        require_resumed(aged, run_of(aged, status="interrupted"))

    def test_a_run_with_a_dropped_option_at_another_value_stands_alone(self, aged: Dfa) -> None:
        usual = run_of(aged, "rule=dfa", "device=auto", "data=digits")
        other = self.with_loudness(aged, usual)
        assert len(rows(aged, usual.folder, other.folder)) == 2

    @pytest.mark.parametrize("command", [("rerun",), ("resume",), ("resume", "--from-start")])
    def test_such_a_run_is_neither_repeated_nor_resumed(self, command: tuple[str, ...], aged: Dfa) -> None:
        run = self.with_loudness(aged, run_of(aged, status="interrupted"))
        before = aged.left()
        answer = aged(command[0], str(run.folder), *command[1:])
        assert answer.code == 2
        assert f"run {run.record['id']} was made with rule.loudness=8, an option" in answer.sentence
        assert "it computes as if it were 7" in answer.sentence
        assert aged.left() == before
        assert run.record["status"] == "interrupted"

    @staticmethod
    def with_loudness(dfa: Dfa, run: Run) -> Run:
        """Copy the run, with another value of an option that was dropped since."""
        folder = dfa.outputs / "louder"
        shutil.copytree(run.folder, folder)
        record = run.record
        record["config"]["rule"]["loudness"] = 8
        record |= {"id": "10de5555", "identity": identity(record["config"])}
        assert record["identity"] != run.record["identity"]
        (folder / "run.json").write_text(json.dumps(record))
        return Run(folder)


def test_replacing_old_names_is_a_small_part_of_reading_a_record(
    old: Dfa, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dfa_cli.config.identity.RENAMED", {**KEYS, **CLASSES})
    monkeypatch.setattr("dfa_cli.config.identity.DROPPED", GONE)
    texts = [(run.folder / "run.json").read_text() for run in old.runs()]
    configs = [json.loads(text)["config"] for text in texts]

    def best(of: Callable[[], object]) -> float:
        """Return the seconds of the fastest of a few tries, since other programs use the machine as well."""
        times = []
        for _ in range(7):
            began = time.perf_counter()
            of()
            times.append(time.perf_counter() - began)
        return min(times)

    # It takes about as long as the parsing alone. `dfa compare` does much more with each of thousands of records.
    assert best(lambda: [modernised(config) for config in configs]) < 3 * best(
        lambda: [json.loads(text) for text in texts]
    )
