"""The jobs of a sweep run exactly as they were written to `.sweep/specs.json`."""

from __future__ import annotations

import json
from pathlib import Path

from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from program import Dfa

from dfa_cli.config.command import parse_command
from dfa_cli.config.compose import Composer, spec_of_job
from dfa_cli.config.own_code import NO_CODE
from dfa_cli.sweeps.plan import plan
from dfa_cli.sweeps.specs import PlacedRun, batch_overrides, job_config, sweep_config, write_specs

WORDS = ["data=digits", "model.hidden=[8]", "device=opu_sim", "rule=bp,dfa", "optimizer.lr=1e-3,1"]


def written(top: Path) -> tuple[Path, dict[str, PlacedRun]]:
    command = parse_command([*WORDS, "launcher=joblib"], "dfa sweep")
    with Composer(command) as composer:
        jobs = composer.jobs(command.overrides)
        placed = {}
        for number, run in enumerate(plan(jobs, top / "none").runs):
            job = run.place(top, number, top / "outputs")
            placed[job.run_id] = job
        return write_specs(top, jobs[0].hydra, placed, list(placed)), placed


def test_a_job_gets_the_configuration_that_was_checked(tmp_path: Path, monkeypatch) -> None:
    path, placed = written(tmp_path)
    master = sweep_config(path)
    assert master.hydra.runtime.choices["hydra/launcher"] == "joblib"
    assert master.hydra.sweep.dir == str(tmp_path)
    listed = batch_overrides(path)
    assert len(listed) == len(placed) == 4
    for words, job in zip(listed, placed.values(), strict=True):
        config = job_config(path, master, words)
        assert OmegaConf.get_type(config, "hydra") is HydraConf  # Hydra refuses a node of another type
        assert config.hydra.sweep.subdir == job.folder
        monkeypatch.setattr(HydraConfig.instance(), "cfg", config)
        again = spec_of_job(
            OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"]), words[1:], NO_CODE
        )
        assert again == job.spec
        assert again.identity == job.spec.identity
        assert list(config.hydra.overrides.task) == job.spec.overrides


def test_the_file_is_plain_json_with_every_configuration(tmp_path: Path) -> None:
    path, placed = written(tmp_path)
    content = json.loads(path.read_text())
    assert path == tmp_path / ".sweep" / "specs.json"
    assert {run_id: job["config"]["optimizer"]["lr"] for run_id, job in content["jobs"].items()} == {
        run_id: job.spec.config["optimizer"]["lr"] for run_id, job in placed.items()
    }


def test_yaml_that_is_edited_while_a_sweep_runs_reaches_none_of_its_jobs(dfa: Dfa) -> None:
    """The first job rewrites the file that its own configuration came from."""
    own = dfa.root / "own"
    (own / "rule").mkdir(parents=True)
    text = "_target_: edits.Edits\nneeds: nothing\nfactor: 1.0\n"
    (own / "rule" / "edits.yaml").write_text(text)
    (own / "edits.py").write_text(
        "from dfa_cli.rules import Backpropagation\n"
        "from pathlib import Path\n"
        "class Edits(Backpropagation):\n"
        "    def __init__(self, factor):\n"
        "        Path(__file__).with_name('rule').joinpath('edits.yaml').write_text('factor: 2.0')\n"
    )
    words = dfa.arguments("data=digits", "model.hidden=[8]", "epochs=1", "rule=edits", "seed=0,1")
    answer = dfa("sweep", "--config-dir", str(own), *words)
    assert answer.code == 0, answer.err + answer.out
    assert [run.record["config"]["rule"]["factor"] for run in dfa.runs()] == [1.0, 1.0]


def test_a_users_folder_name_may_be_nested_and_may_repeat(dfa: Dfa) -> None:
    words = dfa.arguments("data=digits", "model.hidden=[8]", "epochs=1", "rule=bp,shallow", "seed=0,1")
    answer = dfa("sweep", *words, "hydra.sweep.subdir='of/seed${seed}'")
    assert answer.code == 0, answer.err + answer.out
    names = sorted(folder.name for folder in dfa.folders())
    assert len(names) == 4
    assert [name.partition("_")[0] for name in names] == ["seed0", "seed0", "seed1", "seed1"]
    assert {folder.parent.name for folder in dfa.folders()} == {"of"}


def test_values_that_json_cannot_hold_reach_a_job_as_they_reach_a_single_run(dfa: Dfa) -> None:
    """Keys that are numbers."""
    own = dfa.root / "own"
    (own / "rule").mkdir(parents=True)
    (own / "rule" / "odd.yaml").write_text("_target_: odd.Odd\nneeds: nothing\ntable: {1: 2, 5: [{3: 4}]}\n")
    (own / "odd.py").write_text(
        "from dfa_cli.rules import Backpropagation\n"
        "class Odd(Backpropagation):\n"
        "    def __init__(self, table):\n"
        "        assert table == {1: 2, 5: [{3: 4}]}, table\n"
    )
    words = dfa.arguments("data=digits", "model.hidden=[8]", "epochs=1", "rule=odd", "progress=none")
    assert dfa("train", "--config-dir", str(own), *words).code == 0
    answer = dfa("sweep", "--config-dir", str(own), *words, "seed=1,2")
    assert answer.code == 0, answer.err + answer.out
    assert len(dfa.folders()) == 3
