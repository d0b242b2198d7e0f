"""A sweep merges, labels and checks its jobs before the first one starts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dfa_cli.config.command import parse_command
from dfa_cli.config.compose import Composer, compose_sweep
from dfa_cli.config.hydra_internals import Hydra
from dfa_cli.errors import DfaError
from dfa_cli.sweeps.plan import Plan, plan

DIGITS = ["data=digits", "model.hidden=[8]", "epochs=2"]


def planned(tmp_path: Path, *words: str) -> Plan:
    command = parse_command([*DIGITS, *words], "dfa sweep")
    with Composer(command) as composer:
        return plan(composer.jobs(command.overrides), tmp_path / "none")


def test_a_rule_that_projects_nothing_is_run_once_for_all_devices(tmp_path: Path) -> None:
    made = planned(tmp_path, "rule=bp,dfa,shallow", "device=cpu,opu_sim", "seed=0,1")
    assert len(made.runs) == 2 + 4 + 2
    assert made.merged == 4
    assert [run.label for run in made.runs[:3]] == [
        "rule=bp device=cpu seed=0",
        "rule=bp device=cpu seed=1",
        "rule=dfa device=cpu seed=0",
    ]


def test_a_key_that_cannot_change_a_result_makes_no_second_job(tmp_path: Path) -> None:
    made = planned(tmp_path, "threads=1,2", "checkpoint_every=null,3")
    assert len(made.runs) == 1
    assert made.merged == 3


def test_auto_is_merged_with_the_device_that_it_means(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("auto is cuda here")
    assert len(planned(tmp_path, "device=auto,cpu").runs) == 1


def test_jobs_are_labelled_by_the_overrides_in_which_they_differ(tmp_path: Path) -> None:
    assert [run.label for run in planned(tmp_path, "seed=range(2)").runs] == ["seed=0", "seed=1"]


def test_every_job_is_checked_before_the_first_starts(tmp_path: Path) -> None:
    with pytest.raises(DfaError, match=r"epochs is 0\. It must be"):
        planned(tmp_path, "epochs=5,0")


def test_neither_composing_nor_planning_imports_torch(tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from dfa_cli.machine import accelerator
accelerator.DRIVER_FILES = ()
from dfa_cli.config.command import parse_command
from dfa_cli.config.compose import Composer
from dfa_cli.sweeps.plan import plan
command = parse_command({[*DIGITS, "rule=bp,dfa", "seed=0,1"]}, "dfa sweep")
with Composer(command) as composer:
    made = plan(composer.jobs(command.overrides), Path({str(tmp_path)!r}))
assert len(made.runs) == 4
print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_thousand_jobs_are_composed_from_a_few_configurations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    compose = Hydra.compose_config
    monkeypatch.setattr(
        Hydra, "compose_config", lambda *words, **more: calls.append(1) or compose(*words, **more)
    )
    made = planned(tmp_path, "rule=bp,dfa", "seed=range(50)")
    assert len(made.runs) == 100
    assert len(calls) == 2  # one for each rule


@pytest.mark.parametrize("value", ["model.hidden=[8],[9]", "optimizer.lr=0.1,0.2", "rule.scale=1,2"])
def test_an_applied_value_gives_the_configuration_that_hydra_would_compose(
    tmp_path: Path, value: str
) -> None:
    import hydra
    from omegaconf import OmegaConf

    from dfa_cli.config.compose import conf_dir

    jobs = compose_sweep([*DIGITS, value, "seed=5"])
    for job in jobs:
        with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
            whole = hydra.compose("config", job.overrides)
        whole.run_id = job.config["run_id"]
        content = OmegaConf.to_container(whole, resolve=True)
        assert isinstance(content, dict)
        assert content.pop("grids") is None  # a key of sweeps, which no job has
        assert content == job.config
