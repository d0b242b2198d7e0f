"""A mistake in a YAML file of the user's own is answered with the file, the line, what is wrong, and what to write."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from program import Dfa

from dfa_cli.config.own_files import OwnFile, OwnFiles, is_typed
from dfa_cli.config.paths import conf_dir

GLOBAL = "# @package _global_\n"
# case -> the file, its text, and the answer after `error: mine/FILE`
COMPOSED: dict[str, tuple[str, str, str]] = {
    "a misspelt preset": (
        "device/own.yaml",
        "defaults:\n  - opu_simm\n  - _self_\n",
        ", line 2: device=opu_simm: 'opu_simm' is not one of auto, cpu, gpu, opu_holographic, opu_lighton, "
        "opu_phase_shifting, opu_sim, own (did you mean opu_sim?).",
    ),
    "a misspelt option of a part": (
        "device/own.yaml",
        "defaults:\n  - opu_sim\n  - override camera: cmoss\n",
        ", line 3: device/camera=cmoss: 'cmoss' is not one of cmos, ideal (did you mean cmos?).",
    ),
    "a misspelt group": (
        "device/own.yaml",
        "defaults:\n  - opu_sim\n  - override readuot: off_axis\n",
        ", line 3: there is no such group: 'device/readuot' is not one of device/camera, device/drift, "
        "device/encoding, device/medium, device/readout (did you mean device/readout?).",
    ),
    "a part without override": (
        "device/own.yaml",
        "defaults:\n  - opu_sim\n  - readout: off_axis\n  - _self_\n",
        ", line 3: device/readout has an option already, which this entry must replace; write "
        "`- override readout: off_axis`.",
    ),
    "overrides before the preset": (
        "device/own.yaml",
        "defaults:\n  - override readout: off_axis\n  - opu_sim\n",
        ", line 2: entries with override belong at the end of the list.",
    ),
    "an experiment without override": (
        "experiment/own.yaml",
        f"{GLOBAL}defaults:\n  - /model: fc\n",
        ", line 3: model has an option already, which this entry must replace; write `- override /model: fc`.",
    ),
    "an experiment without a slash": (
        "experiment/own.yaml",
        f"{GLOBAL}defaults:\n  - override model: fc\n",
        ", line 3: a group is looked for inside experiment unless a slash stands before its name; write "
        "`- override /model: fc`.",
    ),
    "an experiment with neither": (
        "experiment/own.yaml",
        f"{GLOBAL}defaults:\n  - model: fc\n",
        ", line 3: a group is looked for inside experiment unless a slash stands before its name; write "
        "`- override /model: fc`.",
    ),
    "an experiment without its first line": (
        "experiment/own.yaml",
        "epochs: 3\n",
        ": its keys are put below experiment, where no run looks for them; its first line must be "
        "`# @package _global_`.",
    ),
    "a misspelt key of an experiment": (
        "experiment/own.yaml",
        f"{GLOBAL}seed: 1\nepoch: 3\n",
        ", line 3: There is no key epoch here (did you mean epochs?); dfa train --help lists them.",
    ),
    "a word for a number": (
        "experiment/own.yaml",
        f"{GLOBAL}epochs: many\n",
        ", line 2: epochs is many. It must be a whole number of at least 1.",
    ),
    "a value out of bounds": (
        "experiment/own.yaml",
        f"{GLOBAL}optimizer:\n  lr: -1\n",
        ", line 3: optimizer.lr is -1. It must be a number greater than 0.",
    ),
    "an option for a key": (
        "experiment/own.yaml",
        f"{GLOBAL}rule: bp\n",
        ", line 2: rule=bp sets no value, since rule is a group: type rule=bp. In a file, write `- override /rule: bp` "
        "in its defaults list.",
    ),
    "a number where keys belong": (
        "device/own.yaml",
        "defaults:\n  - opu_sim\n  - _self_\ncamera: 12\n",
        ", line 4: device.camera=12 sets no value, since device.camera has keys, such as device.camera.bits.",
    ),
    "a bracket left open": (
        "model/own.yaml",
        "hidden: [3\n",
        " cannot be read: line 2, column 1: expected ',' or ']', but got '<stream end>'.",
    ),
    "a key that stands twice": (
        "rule/own.yaml",
        "defaults: [dfa, _self_]\nscale: 1\nscale: 2\n",
        " cannot be read: line 3, column 1: found duplicate key scale.",
    ),
    "a file for a class": (
        "rule/own.yaml",
        "_target_: ./mine.py:Own\nneeds: nothing\n",
        ", line 1: ./mine.py:Own is no name of a class: type MODULE.CLASS, the file's name without .py first.",
    ),
    "a rule that does not say whether it projects": (
        "rule/own.yaml",
        "_target_: dfa_cli.rules.Shallow\n",
        ": rule=own lacks a line: `needs: projection` for a rule that asks the device for projections, or `needs: "
        "nothing` for one that does not. Runs of the latter that differ only in the device are the same run.",
    ),
    "a number for a file": (
        "model/own.yaml",
        "5\n",
        " cannot be read: it must hold keys with values, such as `epochs: 3`.",
    ),
    "a defaults list that is none": (
        "model/own.yaml",
        "defaults: fc\nhidden: [3]\n",
        ", line 1: defaults must be a list, such as `defaults: [fc, _self_]`.",
    ),
    "the value of a key that is not there": (
        "rule/own.yaml",
        "defaults: [dfa, _self_]\nscale: ${sedd}\n",
        ", line 2: rule.scale takes the value of ${sedd}, and there is no key sedd (did you mean seed?).",
    ),
    "a misspelt key of Hydra": (
        "experiment/own.yaml",
        f"{GLOBAL}hydra:\n  sweeper:\n    parms:\n      rule: bp,dfa\n",
        ", line 4: There is no key hydra.sweeper.parms here (did you mean hydra.sweeper.params?).",
    ),
    "a text of other bytes": ("model/own.yaml", "\udcff", " cannot be read: it is no text in UTF-8."),
    "no class": (
        "model/own.yaml",
        "hidden: [3]\n",
        ": model=own names no class: it needs a line `_target_: MODULE.CLASS`, or a defaults list with the option that "
        "it changes, such as `defaults: [fc, _self_]`.",
    ),
}
# These show only when the class is there, that is in the run.
BUILT: dict[str, tuple[str, str, str]] = {
    "a misspelt key of a device": (
        "device/own.yaml",
        "defaults:\n  - opu_sim\n  - _self_\nphotons_per_pixle: 3\n",
        ", line 4: device.photons_per_pixle is no key of dfa_cli.devices.opu.OPU (did you mean "
        "device.camera.photons?); it takes encoding, medium,",
    ),
    "the name of the group again": (
        "device/own.yaml",
        "defaults:\n  - opu_sim\n  - _self_\ndevice:\n  power_watts: 3\n",
        ", line 4: device.device is no key of dfa_cli.devices.opu.OPU (the keys of its file stand below device without "
        "a line device:);",
    ),
    "a misspelt class": (
        "rule/own.yaml",
        "needs: projection\n_target_: dfa_cli.rules.DirectFeedbakAlignment\n",
        ", line 2: dfa_cli.rules.DirectFeedbakAlignment cannot be imported: dfa_cli.rules has no "
        "DirectFeedbakAlignment (did you mean DirectFeedbackAlignment?).",
    ),
    "a misspelt key of a part": (
        "device/own.yaml",
        "defaults:\n  - opu_sim\n  - _self_\nlaser:\n  wats: 3\n",
        ", line 5: device.laser.wats is no key of dfa_cli.devices.opu.Laser (did you mean device.laser.watts?);",
    ),
    "a misspelt key of a read-out": (
        "device/readout/own.yaml",
        "_target_: dfa_cli.devices.opu.OffAxis\ngrains: 4\n",
        ", line 2: device.readout.grains is no key of dfa_cli.devices.opu.OffAxis (did you mean "
        "device.readout.grain?); it takes grain, band_limited, demodulation, reference, visibility, headroom.",
    ),
    "a misspelt key of a medium": (
        "device/medium/own.yaml",
        "_target_: dfa_cli.devices.opu.Dense\nmots: 4\n",
        ", line 2: device.medium.mots is no key of dfa_cli.devices.opu.Dense; it takes no keys.",
    ),
    "a misspelt key of a rule": (
        "rule/own.yaml",
        "defaults:\n  - dfa\n  - _self_\nscal: 2\n",
        ", line 4: rule.scal is no key of dfa_cli.rules.DirectFeedbackAlignment (did you mean rule.scale?);",
    ),
    "a misspelt key of an optimizer": (
        "optimizer/own.yaml",
        "_target_: torch.optim.Adam\n_partial_: true\nweight_deca: 0.1\n",
        ", line 3: optimizer.weight_deca is no key of torch.optim.Adam (did you mean optimizer.weight_decay?);",
    ),
    "an optimizer that is made too early": (
        "optimizer/own.yaml",
        "_target_: torch.optim.Adam\nlr: 0.1\n",
        ": optimizer lacks `_partial_: true`, since the parameters of the model come later.",
    ),
    "a key of a data set": (
        "data/own.yaml",
        "_target_: dfa_cli.data.Digits\ngives: samples\nsed: 1\n",
        ", line 3: data.sed is no key of dfa_cli.data.Digits; it takes no keys.",
    ),
    "a misspelt key of the model in an experiment": (
        "experiment/own.yaml",
        f"{GLOBAL}model:\n  hiden: [3]\n",
        ", line 3: model.hiden is no key of dfa_cli.models.FullyConnected (did you mean model.hidden?);",
    ),
    "missing keys": (
        "model/own.yaml",
        "_target_: dfa_cli.models.FullyConnected\nhidden: [3]\n",
        ": model lacks activation, dropout, input_dropout, which dfa_cli.models.FullyConnected needs.",
    ),
}


def answer_to(dfa: Dfa, file: str, text: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Train with an own file, from the folder that holds `mine`. The run is refused and leaves nothing."""
    path = dfa.root / "mine" / file
    path.parent.mkdir(parents=True)
    path.write_bytes(text.encode(errors="surrogateescape"))
    monkeypatch.chdir(dfa.root)
    group = file.rpartition("/")[0]
    words = ["device=opu_sim"] if group.startswith("device/") else []
    data = [] if group == "data" else ["data=digits"]
    answer = dfa.train("--config-dir", "mine", *data, *words, f"{group}=own", "progress=none")
    assert answer.code == 2, answer.err
    assert answer.err.count("\n") == 1
    assert dfa.left() == []
    return answer.sentence


@pytest.mark.parametrize("case", COMPOSED)
def test_a_mistake_that_the_composition_finds(case: str, dfa: Dfa, monkeypatch: pytest.MonkeyPatch) -> None:
    file, text, says = COMPOSED[case]
    assert answer_to(dfa, file, text, monkeypatch) == f"error: mine/{file}{says}"


@pytest.mark.parametrize("case", BUILT)
def test_a_key_that_the_class_does_not_take(case: str, dfa: Dfa, monkeypatch: pytest.MonkeyPatch) -> None:
    file, text, says = BUILT[case]
    assert answer_to(dfa, file, text, monkeypatch).startswith(f"error: mine/{file}{says}")


@pytest.mark.parametrize("command", ["beam", "plan"])
def test_other_commands_name_the_file_too(command: str, dfa: Dfa, monkeypatch: pytest.MonkeyPatch) -> None:
    (dfa.root / "mine" / "device").mkdir(parents=True)
    (dfa.root / "mine" / "device" / "own.yaml").write_text("defaults:\n  - opu_sim\nlaser:\n  wats: 3\n")
    monkeypatch.chdir(dfa.root)
    answer = dfa(
        command, "--config-dir", "mine", "device=own", *(["data=digits"] if command == "plan" else [])
    )
    assert answer.code == 2
    assert answer.sentence.startswith("error: mine/device/own.yaml, line 4: device.laser.wats is no key of")


@pytest.mark.parametrize("option", ["optimizer/adam", "device/readout/ideal"])
@pytest.mark.parametrize("command", ["train", "sweep"])
def test_a_file_with_the_name_of_an_option_of_dfa_is_refused(
    command: str, option: str, dfa: Dfa, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = dfa.root / "mine" / f"{option}.yaml"
    file.parent.mkdir(parents=True)
    file.touch()
    monkeypatch.chdir(dfa.root)
    answer = dfa(command, *dfa.arguments("--config-dir", "mine", "data=digits"))
    group, _, name = option.rpartition("/")
    assert (answer.code, dfa.left()) == (2, [])
    assert answer.sentence == (
        f"error: mine/{option}.yaml would not be used, since dfa has {group}={name} itself; give the file another "
        f"name, such as my_{name}.yaml, and choose that: {group}=my_{name}."
    )


def test_a_copy_of_an_option_and_an_option_that_is_not_chosen_are_no_obstacle(
    dfa: Dfa, monkeypatch: pytest.MonkeyPatch
) -> None:
    for group in ("optimizer", "experiment", "rule"):
        (dfa.root / "mine" / group).mkdir(parents=True)
    shutil.copy(conf_dir() / "optimizer" / "adam.yaml", dfa.root / "mine" / "optimizer")
    (dfa.root / "mine" / "experiment" / "quickstart.yaml").touch()
    (dfa.root / "mine" / "rule" / "fa.yaml").touch()
    monkeypatch.chdir(dfa.root)
    words = ("--config-dir", "mine", "data=digits", "model.hidden=[8]", "epochs=1")
    assert dfa.train(*words, "rule=bp").code == 0
    assert "mine/rule/fa.yaml would not be used" in dfa.train(*words, "rule=fa").sentence


def test_a_typed_value_names_no_file(dfa: Dfa) -> None:
    (dfa.root / "mine" / "model").mkdir(parents=True)
    (dfa.root / "mine" / "model" / "own.yaml").write_text("defaults: [fc, _self_]\nhidden: [8]\n")
    answer = dfa.train("--config-dir", str(dfa.root / "mine"), "data=digits", "model=own", "model.hidden=8")
    assert answer.sentence.startswith("error: model.hidden is 8. It must be")


def test_a_value_typed_in_a_dictionary_is_not_said_of_the_file_that_sets_it(dfa: Dfa) -> None:
    (dfa.root / "mine" / "device").mkdir(parents=True)
    text = "defaults: [opu_sim, override drift: medium, _self_]\ndrift: {tau: 3}\n"
    (dfa.root / "mine" / "device" / "lab.yaml").write_text(text)
    words = ["--config-dir", str(dfa.root / "mine"), "data=digits", "device=lab"]
    answer = dfa.train(*words, "device.drift={tau: -1}")
    assert answer.sentence.startswith("error: device.drift.tau is -1. It must be")


def test_a_value_typed_in_a_dictionary_names_no_file() -> None:
    assert is_typed("device.drift.tau", ["device=own", "device.drift={tau: -1}"])
    assert not is_typed("device.drift.tau", ["device=own", "device.drift=x", "device.dri={tau: -1}"])


def test_the_last_file_that_sets_a_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "base.yaml").write_text("defaults: [fc]\nhidden: [8]\n")
    (tmp_path / "model" / "own.yaml").write_text("# @package model\ndefaults: [base]\nactivation: relu\n")
    own = OwnFiles({"model": "own", "rule": "dfa"}, str(tmp_path))
    assert [file.name for file in own.files] == ["model/own", "model/base"]
    assert own.place("model.hidden") == f"{tmp_path}/model/base.yaml, line 2"
    assert own.place("model.activation") == f"{tmp_path}/model/own.yaml, line 3"
    assert own.place("model.dropout") is None
    assert OwnFile(tmp_path, "model/nowhere").find("model.hidden") is None
