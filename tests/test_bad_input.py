"""Bad input is answered by one sentence with what was given, what is expected and what to do, and by exit code 2.

Nothing is left on the disk.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from program import PATIENCE, Answer, Dfa

from dfa_cli.data.catalogue import CATALOGUE

# case -> the words typed, and patterns that the answer must match
QUICK: dict[str, tuple[list[str], list[str]]] = {
    "an option that is not there": (["--modle", "gcn"], ["--modle"]),
    "a short option that is not there": (["-z"], ["-z"]),
    "a key that is not there": (["epoch=3"], ["epoch"]),
    "a group that is not there": (["modle=gcn"], ["modle"]),
    "a nested key that is not there": (["model.hiden=[3]"], [r"model\.hiden"]),
    "an option of a group that is not there": (["model=gnc"], ["model=gnc", "gat", r"did you mean gcn\?"]),
    "a device that is not there": (["device=tpu"], ["device=tpu", "opu_sim"]),
    "the start of a device": (["device=opu"], [r"did you mean opu_sim\?"]),
    "a number for an option": (["model=3"], ["model.*3|3.*model"]),
    "a key without a value": (["epochs"], ["epochs"]),
    "a bracket left open": (["model.hidden=[3,4"], [r"\[3,4"]),
    "a word for a number": (
        ["epochs=abc"],
        [r"^error: epochs is abc\. It must be a whole number of at least 1\.$"],
    ),
    "a fraction for a whole number": (
        ["epochs=2.5"],
        [r"^error: epochs is 2\.5\. It must be a whole number"],
    ),
    "a power of ten for a whole number": (
        ["epochs=1e3"],
        [r"^error: epochs is 1e3\. It must be a whole number of at least 1; type epochs=1000\.$"],
    ),
    "a list for a number": (
        ["epochs=[1]"],
        [r"^error: epochs is \[1\]\. It must be a whole number of at least 1\.$"],
    ),
    "a list of two for a number": (["seed=[1,2]"], [r"^error: seed is \[1,2\]\. It must be a whole number"]),
    "null for a number": (
        ["epochs=null"],
        [r"^error: epochs is null\. It must be a whole number of at least 1\.$"],
    ),
    "null for a choice": (
        ["precision=null"],
        [r"^error: precision is null\. It must be one of fp32, tf32, bf16\.$"],
    ),
    "null for another choice": (["graph=null"], [r"^error: graph is null\. It must be one of auto, off\.$"]),
    "a word for yes or no at the top": (
        ["fail_fast=maybe"],
        [r"^error: fail_fast is maybe\. It must be true or false\.$"],
    ),
    "a list for a folder": (
        ["data_dir=[a]"],
        [r"^error: data_dir is \[a\]\. It must be the name of a folder, or null\.$"],
    ),
    "a number for a list of folders": (
        ["mirrors=3"],
        [r"^error: mirrors is 3\. It must be a list of folders, such as"],
    ),
    "a number for grids": (["grids=3"], [r"^error: grids is 3\. It must be a list of grids"]),
    "null for an option": (
        ["model=null"],
        [r"^error: model=null: 'null' is not one of cheb, fc, gat, gcn, sage\.$"],
    ),
    "null for an option that an option called none means": (
        ["-m", "tuned=none,null"],
        [r"^error: tuned=null: the option of tuned that sets nothing is called none; type tuned=none\.$"],
    ),
    "null for the option of a group without a default": (
        ["experiment=null"],
        [r"^error: experiment=null chooses nothing; leave it out\.$"],
    ),
    "no option": (["model="], [r"^error: model=: '' is not one of cheb, fc"]),
    "a second option": (
        ["+model=gcn"],
        [
            r"^error: \+model=gcn would choose a second option of model; type model=gcn, which replaces the first\.$"
        ],
    ),
    "a forced option": (["++model=gcn"], [r"^error: \+\+model=gcn forces a key, .*; type model=gcn\.$"]),
    "a key that is removed": (
        ["~epochs"],
        [r"^error: ~epochs removes a key that every run needs; leave it out\.$"],
    ),
    "a range in other signs": (
        ["seed=0..3"],
        [r"^error: seed is 0\.\.3\. It must be a whole .* 0; dfa sweep takes several: seed='range\(4\)'\.$"],
    ),
    "a range of an inner key in a sweep": (
        ["-m", "batch_size=null", "rule.feedback_seed=2-5", "rule=fa"],
        [
            r"^error: rule\.feedback_seed is 2-5\. .*; dfa sweep takes several: rule\.feedback_seed='range\(2,6\)'\.$"
        ],
    ),
    "several values of an inner key that is not there": (
        ["lr=0,1"],
        [r"^error: .*did you mean optimizer\.lr\?"],
    ),
    "a misspelt key within a dictionary": (
        ["device=opu_sim", "device.laser={wats: 1}"],
        [r"^error: There is no key device\.laser\.wats here \(did you mean device\.laser\.watts\?\)"],
    ),
    "a misspelt key within the dictionary of a group": (
        ["model={hiden: [3]}"],
        [r"^error: There is no key model\.hiden here \(did you mean model\.hidden\?\)"],
    ),
    "values to sweep, typed as in a file": (
        ["-m", "+hydra.sweeper.params.seed=1,2"],
        [
            r"^error: \+hydra\.sweeper\.params\.seed=1,2 is how a file .*; on the command line type seed=1,2\.$"
        ],
    ),
    "values to sweep in a dictionary": (
        ["-m", 'hydra.sweeper.params={seed:"1,2",rule:"bp,dfa"}'],
        [r" on the command line type seed=1,2 rule=bp,dfa\.$"],
    ),
    "values to sweep below a misspelt key": (
        ["-m", "sweeper.parms.seed=range(3)"],
        [r"type 'seed=range\(3\)'\.$"],
    ),
    "a group that is removed": (
        ["~model"],
        [r"^error: ~model removes a key that every run needs; leave it out\.$"],
    ),
    "a value where Hydra finds another key": (
        ["epochs=${sedd}"],
        [
            r"^error: epochs takes the value of \$\{sedd\}, and there is no key sedd \(did you mean seed\?\)\.$"
        ],
    ),
    "a word after a number": (["epochs=1", "epochs=3epochs"], [r"^error: epochs is 3epochs\. It must be"]),
    "no value": (["seed="], [r'^error: seed is ""\. It must be a whole number of at least 0\.$']),
    "an empty name": (["run_id="], [r'^error: run_id is ""\. It must be a name without slashes\.$']),
    "a key that is added twice": (
        ["+epochs=3"],
        [r"^error: \+epochs=3 adds a key, and epochs is there already; type epochs=3\.$"],
    ),
    "an option with a slash": (
        ["device=opu_sim/off_axis"],
        [r"^error: device=opu_sim/off_axis: .* is not one of auto, .*\(did you mean opu_sim\?\)\.$"],
    ),
    "widths without brackets": (["model.hidden=64,32"], [r" A list is written model\.hidden=\[64,32\]\.$"]),
    "a misspelt key of Hydra": (["hydra.run.dirr=x"], ["hydra.run.dirr here; dfa train --cfg hydra shows"]),
    "a main file that is not there": (
        ["--config-name", "nope"],
        ["^error: --config-name nope names no file: nope.yaml"],
    ),
    "blanks around the equals sign": (
        ["epochs", "=", "3"],
        ["epochs cannot be read.*without blanks around the ="],
    ),
    "a word for a nested number": (["optimizer.lr=fast"], [r"optimizer\.lr is fast", "number"]),
    "negative epochs": (["epochs=-3"], ["epochs is -3", "at least 1"]),
    "no epochs": (["epochs=0"], ["epochs is 0", "at least 1"]),
    "a negative seed": (["seed=-1"], ["seed is -1", "at least 0"]),
    "a batch of nothing": (["batch_size=0"], ["batch_size is 0", "at least 1"]),
    "no patience": (["patience=0"], ["patience is 0", "at least 1"]),
    "no threads": (["threads=0"], ["threads is 0", "from 1"]),
    "a learning rate of zero": (["optimizer.lr=0"], [r"optimizer\.lr is 0", "greater than 0"]),
    "empty widths": (["model.hidden=[]"], [r"model\.hidden is \[\]", r"\[64\]|at least 1"]),
    "a width of nothing": (["model.hidden=[16,0]"], [r"model\.hidden is \[16, ?0\]", "at least 1"]),
    "a width for a list of them": (["model.hidden=16"], [r"model\.hidden is 16", "list"]),
    "dropout above 1": (["model.dropout=1.5"], [r"model\.dropout is 1\.5", "0", "1"]),
    "dropout of everything": (["model.dropout=1"], [r"model\.dropout is 1", "below 1"]),
    "negative dropout": (["model.input_dropout=-0.1"], [r"model\.input_dropout is -0\.1", "from 0"]),
    "another activation": (["model.activation=gelu"], [r"model\.activation is gelu", "tanh", "relu"]),
    "another compute": (["compute=tpu"], ["compute is tpu", "cpu", "cuda"]),
    "a laser without light": (["device=opu_sim", "device.laser.watts=0"], [r"greater than 0, in watts\."]),
    "a frame of no time": (["device=opu_sim", "device.frame_seconds=0"], [r"auto, or .* 0, in seconds\."]),
    "a threshold above 1": (
        ["device=opu_sim", "device/encoding=ternary", "device.encoding.threshold=1.5"],
        [r"device\.encoding\.threshold is 1\.5", "0", "1"],
    ),
    "a negative threshold": (
        ["device=opu_sim", "device/encoding=ternary", "device.encoding.threshold=-0.1"],
        [r"device\.encoding\.threshold is -0\.1", "0"],
    ),
    "a threshold that no error passes, and no key that makes it absolute": (
        ["device=opu_sim", "device/encoding=two_scales", "device.encoding.threshold=1"],
        [
            r"device\.encoding\.threshold is 1\. .*below 1, since it is relative to each row's largest error\.$"
        ],
    ),
    "a wavelength in nanometres": (
        ["device=opu_sim", "device.laser.wavelength=532"],
        [r"device\.laser\.wavelength is 532\. .*metres.*532e-9"],
    ),
    "exposures without end": (
        ["device=opu_phase_shifting", "device.readout.steps=1000000000"],
        [r"device\.readout\.steps is 1000000000\. .*from 3 to 256"],
    ),
    "a grain that is wider than the camera": (
        ["device=opu_sim", "device.readout.wrapped.grain=1000000"],
        [r"device\.readout\.wrapped\.grain is 1000000\. .*from 4 to 256"],
    ),
    "a graph model on samples": (
        ["model=gcn", "data=mnist"],
        ["model=gcn", "data=mnist", "graph", "cora", "fc"],
    ),
    "a folder of options that is not there": (["--config-dir", "/nowhere/at/all"], ["/nowhere/at/all"]),
    "a misspelt key": (["rul=bp"], ["rul", r"did you mean rule\?"]),
    "a key that is nothing like those beside it": (
        ["model.layers=3"],
        [r"model\.layers here \(model has hidden, activation, dropout, input_dropout\); dfa train --help"],
    ),
    "an unknown key within the dictionary of a group": (
        ["device={where: cpu, foo: 2}"],
        [r"^error: There is no key device\.foo here; dfa train --help"],
    ),
    "several values for a group inside a group": (
        ["drift=none,medium"],
        [r"type dfa sweep device=opu_sim device/drift=none,medium\.$"],
    ),
    "an option in capitals": (["model=GCN"], [r"did you mean gcn\?"]),
    "an option without its group": (["quickstart"], [r"is an option; type experiment=quickstart\.$"]),
    "a group without an option": (["model", "gcn"], [r"^error: model is a group; type model=OPTION\."]),
    "a key as a flag": (["--batch-size=3"], [r"a key has no dashes before it; type batch_size=3\.$"]),
    "a preset of dfa plan": (["preset=mnist-fc"], [r"dfa plan takes one: dfa plan --preset mnist-fc\.$"]),
    "an option that is one of many": (
        ["experiment=quick"],
        [
            r"^error: experiment=quick: 'quick' is not one of the \d+ options \(did you mean quickstart\?\); dfa train"
        ],
    ),
    "a misspelt key that is added": (["+rul=bp"], ["rul", r"did you mean rule\?"]),
    "a misspelt nested key": (["rule.scal=2"], [r"did you mean rule\.scale\?"]),
    "a misspelt option, and Hydra's search path": (
        ["rule=bpp"],
        [r"rule=bpp: 'bpp' is not one of bp, brsf, dfa.*did you mean bp\?(?!.*search path)"],
    ),
    "a flag that is not there": (
        ["--nope"],
        [r"^error: dfa train: unrecognized arguments: --nope.* dfa train --help"],
    ),
    "a misspelt flag": (["--dryrun"], [r"did you mean --dry-run\?"]),
    "a flag that is near none": (["--nope"], ["unrecognized arguments: --nope; dfa train --help"]),
    "a key that is near none": (["nope=3"], ["There is no key nope here; dfa train --help"]),
    "a flag without its value": (["--config-dir"], ["--config-dir.*expected one argument"]),
    "a dry run of one run": (["--dry-run"], ["--cfg job", "dfa sweep --dry-run"]),
    "tuned values that are not there": (["tuned=fc_mnist_dfaa"], ["tuned=fc_mnist_dfaa", "fc_mnist_dfa"]),
    "several values for one run": (["seed=0,1"], ["seed=0,1", "dfa sweep", "-m"]),
    "a range to search without a search": (["-m", "optimizer.lr=interval(0.1,1)"], ["sweeper=optuna"]),
    "a range of nothing": (["-m", "seed=range(0)"], [r"seed=range\(0\)", "no value"]),
    "a range without a step": (["-m", "seed=range(0,3,0)"], [r"seed=range\(0,3,0\)"]),
    "a list left open, in a sweep": (["-m", "model.hidden=[64"], [r"\[64 lacks its closing \]"]),
    "a blank in a list": (
        ["model.hidden=[64,", "64]"],
        [r"\[64, lacks its closing \], since a blank ends a word"],
    ),
    "a range left open": (["-m", "seed=range(6"], [r"lacks its closing \); type 'seed=range\(6\)'\."]),
    "a word that is no override": (["rule dfa"], ["rule dfa cannot be read", "key=value"]),
    "a key of another option": (
        ["data=digits", "data.validation=3"],
        [r"data\.validation is a key of data=mnist, which is not chosen; type data=mnist"],
    ),
    "a key of several other options": (
        ["rule=bp", "rule.scale=2"],
        [r"rule\.scale is a key of rule=dfa, rule=drtp, none of which is chosen; choose one of them"],
    ),
    "a key of a part of another option": (
        ["device=cpu", "device.camera.bits=4"],
        [r"device=cpu has no group device/camera, as .*device=opu_sim, or leave device\.camera\.bits=4 out"],
    ),
    "a key of a part of another option than the default": (
        ["device.camera.bits=4"],
        [r"device=auto has no group device/camera, as .*such as device=opu_sim"],
    ),
    "a key of the read-out whose noise is modelled": (
        ["device=opu_sim", "device.readout.grain=6"],
        [
            r"With device/readout=statistical the key is device\.readout\.wrapped\.grain; "
            r"type device\.readout\.wrapped\.grain=6\."
        ],
    ),
    "the steps of a preset whose noise is modelled": (
        ["device=opu_phase_shifting", "device/readout=statistical", "device.readout.steps=6"],
        [r"device/readout=statistical_phase_shifting .*type device\.readout\.wrapped\.steps=6\."],
    ),
    "the steps of a read-out that has none": (
        ["device=opu_sim", "device.readout.steps=6"],
        [r"device\.readout\.steps is a key of device/readout=phase_shifting"],
    ),
    "a key of the read-out in a sweep": (
        ["-m", "device=opu_sim", "device.readout.headroom=2,4"],
        [r"type device\.readout\.wrapped\.headroom=2\."],
    ),
    "a key with a slash": (
        ["device=opu_sim", "device/camera.bits=12"],
        [r"device/camera\.bits=12 cannot be read: .*type device\.camera\.bits=12\."],
    ),
    "stages without a pipeline": (
        ["parallel.stages=3"],
        ["parallel.stages is a key of parallel=pipeline", "type parallel=pipeline"],
    ),
    "stages of replicas": (["parallel=data", "parallel.stages=3"], ["type parallel=pipeline"]),
    "stages added without a pipeline": (["+parallel.stages=3"], ["type parallel=pipeline"]),
    "a misspelt key of a pipeline": (["parallel.stage=3"], ["did you mean parallel.stages?"]),
    "a key of another option of an inner group": (
        ["device=opu_sim", "device.drift.tau=30"],
        [r"is a key of device/drift=medium, device/drift=reference, none of which is chosen"],
    ),
    "an inner group without its outer one": (
        ["device=opu_sim", "drift=medium"],
        ["drift is a group inside the group device; type device/drift=medium"],
    ),
    "an inner group in a sweep": (
        ["-m", "readout=off_axis,ideal"],
        ["type device=opu_sim device/readout=off_axis"],
    ),
    "an inner group that is added": (["device=opu_sim", "+readout=ideal"], ["type device/readout=ideal"]),
    "an inner group with a point": (
        ["device=opu_sim", "device.readout=off_axis"],
        ["device.readout is a group: type device/readout=off_axis"],
    ),
    "an inner group of another device": (
        ["device=cpu", "device/drift=medium"],
        [
            "device=cpu has no group device/drift, as .*opu_lighton.*device=opu_sim, or leave device/drift=medium out"
        ],
    ),
    "an inner group that one of several devices lacks": (
        ["-m", "device=opu_sim,cpu", "device/encoding=ternary,dithered"],
        ["device=cpu has no group device/encoding, as .*or leave device/encoding=ternary out"],
    ),
    "a misspelt inner group": (["device=opu_sim", "device/readot=ideal"], [r"did you mean device/readout\?"]),
    "a value for several keys": (
        ["device=opu_sim", "device.limits=3"],
        [r"device\.limits=3 sets no value, since device\.limits has keys, such as device\.limits\.mirrors"],
    ),
    "the end of a key": (["lr=0.1"], [r"did you mean optimizer\.lr\?"]),
    "a read-out that a device cannot have": (
        ["device=opu_lighton", "device/readout=off_axis"],
        ["device=opu_lighton has no reference beam, which device/readout=off_axis needs", "device=opu_sim"],
    ),
    "a pattern of options": (["-m", "rule=glob(*)"], [r"rule=glob\(\*\)", "one by one"]),
    "a launcher's key without the launcher": (["-m", "launcher.n_jobs=2"], ["launcher=joblib"]),
    "a graph of another kind": (["graph=on"], ["graph is on", "auto, off"]),
    "more threads than there can be": (["threads=100000"], ["threads is 100000", "1024"]),
    "a number beyond single precision": (["optimizer.lr=1e300"], [r"optimizer\.lr is 1e\+300"]),
    "a word for yes or no": (["optimizer.fused=maybe"], ["true or false"]),
    "neither auto nor an exposure": (["device=opu_sim", "device.camera.exposure=-1"], ["auto"]),
    "no neighbours": (["data=digits_graph", "model=gcn", "data.neighbours=0"], ["data.neighbours is 0"]),
    "one bad job of a sweep": (["-m", "seed=0,-1"], ["seed is -1", "at least 0"]),
    "one job of a sweep with a model that does not fit": (
        ["-m", "model=fc,gcn", "data=digits"],
        ["model=gcn", "data=digits"],
    ),
}

ASK = """
import contextlib, io, json, sys, traceback
from dfa_cli.cli import main
for words in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    sys.argv = ["dfa", *words]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
            code = 0
        except SystemExit as leaving:
            code = leaving.code or 0
        except Exception:
            code = 1
            traceback.print_exc()
    heavy = [name for name in ("torch", "numpy", "sklearn", "torch_geometric") if name in sys.modules]
    print(json.dumps([code, out.getvalue(), err.getvalue(), heavy]), flush=True)
"""


def ask(dfa: Dfa, questions: list[list[str]]) -> list[tuple[Answer, list[str]]]:
    """Run all commands in one new process. Returns each answer with the large packages imported by then."""
    result = subprocess.run(
        [sys.executable, "-c", ASK],
        input=json.dumps(questions),
        capture_output=True,
        text=True,
        env={**os.environ, **dfa.environment},
        cwd=dfa.root,
        check=True,
        timeout=PATIENCE,
    )
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(lines) == len(questions)
    return [(Answer(*line[:3]), line[3]) for line in lines]


@pytest.fixture(scope="module")
def quick(dfa_in: Callable[[str], Dfa]) -> tuple[Dfa, dict[str, tuple[Answer, list[str]]]]:
    dfa = dfa_in("quick")
    questions = [["train", *dfa.arguments("data=digits", *words)] for words, _ in QUICK.values()]
    for question in questions:
        if sum(word.startswith("data=") for word in question) == 2:
            question.remove("data=digits")
    answers = ask(dfa, questions)
    return dfa, dict(zip(QUICK, answers, strict=True))


def refused(answer: Answer) -> None:
    assert answer.code == 2
    assert "Traceback" not in answer.err
    assert not answer.out.strip(), "the error belongs on stderr, and nothing else is to be printed"
    assert answer.err.strip()


class TestBeforeTorch:
    """These mistakes are answered in a fraction of a second, before torch is imported."""

    @pytest.mark.parametrize("case", QUICK)
    def test_the_answer_names_what_was_given_and_what_is_expected(
        self, case: str, quick: tuple[Dfa, dict[str, tuple[Answer, list[str]]]]
    ) -> None:
        answer, _ = quick[1][case]
        refused(answer)
        for words in QUICK[case][1]:
            assert re.search(words, answer.sentence), f"{words} is not in: {answer.err}"

    @pytest.mark.parametrize("case", QUICK)
    def test_torch_is_not_imported(
        self, case: str, quick: tuple[Dfa, dict[str, tuple[Answer, list[str]]]]
    ) -> None:
        heavy = {name: found for name, (_, found) in quick[1].items()}
        before = list(heavy)[: list(heavy).index(case)]
        if before and "torch" in heavy[before[-1]]:
            (alone,) = ask(quick[0], [["train", *quick[0].arguments("data=digits", *QUICK[case][0])]])
            heavy[case] = alone[1]
        assert not heavy[case]

    def test_nothing_is_left_on_the_disk(
        self, quick: tuple[Dfa, dict[str, tuple[Answer, list[str]]]]
    ) -> None:
        assert quick[0].left() == []

    def test_our_own_answers_are_one_line(
        self, quick: tuple[Dfa, dict[str, tuple[Answer, list[str]]]]
    ) -> None:
        for answer, _ in quick[1].values():
            if "It must be" in answer.err:
                assert answer.err.count("\n") == 1
                assert answer.err.startswith("error: ")


@pytest.mark.parametrize("given", [["--config-dir", "mine"], ["--config-dir=mine"]], ids=str)
def test_an_option_of_a_command_goes_after_it(given: list[str], dfa: Dfa) -> None:
    answer = dfa(*given, "beam", "device=opu_sim")
    refused(answer)
    after = " ".join(["dfa beam", *given, "device=opu_sim"])
    assert answer.sentence == f"error: --config-dir goes after the command: {after}"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("resume", "dfa resume: missing argument 'RUN'; dfa resume --help tells what can be given."),
        ("resume last --stages x", "dfa resume: --stages: it must be a whole number; dfa resume --help"),
        (
            "compare --basline x",
            "dfa compare: there is no option --basline (did you mean --baseline?); dfa compare",
        ),
        (
            "compare --nope",
            "dfa compare: there is no option --nope; dfa compare --help tells what can be given.",
        ),
        (
            "compare --metric",
            "dfa compare: --metric needs a value; dfa compare --help tells what can be given.",
        ),
        ("compare --equivalent x", "dfa compare: --equivalent: it must be a number; dfa compare --help"),
        (
            "rerun last --config-dir nowhere",
            "dfa rerun: --config-dir: dir 'nowhere' does not exist; dfa rerun --help",
        ),
        ("--nope", "dfa: there is no option --nope; dfa --help tells what can be given."),
        ("data nope", "dfa data: no such command 'nope'; dfa data --help tells what can be given."),
        (
            "data list --prob",
            "dfa data list: there is no option --prob (did you mean --probe?); dfa data list --help",
        ),
        ("versoin", "There is no command versoin; type dfa v"),
        ("nope", "There is no command nope. dfa --help lists them."),
        ("version", "There is no command version; type dfa --version. dfa --help lists them."),
    ],
)
@pytest.mark.parametrize("columns", ["40", "200"])
def test_what_typer_refuses_is_one_line_of_the_same_form(
    words: str, says: str, columns: str, dfa: Dfa
) -> None:
    """Typer's own answer is a box as wide as the terminal, below three lines of usage."""
    dfa.environment["COLUMNS"] = columns
    answer = dfa(*words.split())
    refused(answer)
    assert answer.err.startswith(f"error: {says}")
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize("given", ["mine/device", "mine/device/camera", "mine/device/"])
def test_the_folder_of_a_group_is_given_for_the_folder_above(
    given: str, dfa: Dfa, monkeypatch: pytest.MonkeyPatch
) -> None:
    (dfa.root / "mine" / "device" / "camera").mkdir(parents=True)
    (dfa.root / "mine" / "device" / "own.yaml").write_text("defaults: [opu_sim]\n")
    monkeypatch.chdir(dfa.root)
    answer = dfa.train("--config-dir", given, "data=digits", "device=own")
    refused(answer)
    assert answer.sentence == (
        f"error: --config-dir {given} is the folder of a group, whose options are looked for one level up; type "
        "--config-dir mine."
    )


def test_a_folder_that_may_not_be_read_is_a_sentence(dfa: Dfa, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, allowed = dfa.root / "secret", os.access
    folder.mkdir()
    # The superuser may read every folder.
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != str(folder) and allowed(path, mode))
    answer = dfa.train("--config-dir", str(folder), "data=digits")
    refused(answer)
    assert answer.err == f"error: --config-dir {folder} cannot be read: you lack the permission.\n"


def test_a_file_in_a_misspelt_group_is_named(dfa: Dfa, monkeypatch: pytest.MonkeyPatch) -> None:
    (dfa.root / "mine" / "devices").mkdir(parents=True)
    (dfa.root / "mine" / "devices" / "own.yaml").write_text("defaults: [opu_sim]\n")
    monkeypatch.chdir(dfa.root)
    answer = dfa.train("--config-dir", "mine", "data=digits", "device=own")
    refused(answer)
    assert answer.sentence.endswith(". mine/devices/own.yaml is there, but options of device lie in device/.")


def test_a_folder_with_the_name_of_a_group_may_hold_groups(dfa: Dfa, monkeypatch: pytest.MonkeyPatch) -> None:
    (dfa.root / "model" / "model").mkdir(parents=True)
    (dfa.root / "model" / "model" / "own.yaml").write_text("defaults: [fc]\n")
    monkeypatch.chdir(dfa.root)
    answer = dfa.train("--config-dir", "model", "data=digits", "model=own", "epochs=0")
    assert answer.sentence.startswith("error: epochs is 0.")


class TestHelp:
    def test_imports_neither_torch_nor_hydra(self, dfa: Dfa) -> None:
        code = (
            "import sys; sys.argv = ['dfa', *sys.argv[1:]]\nfrom dfa_cli.cli import main\n"
            "try:\n    main()\nexcept SystemExit: pass\n"
            "heavy = {'torch', 'hydra', 'omegaconf', 'numpy', 'matplotlib', 'scipy', 'sklearn'}\n"
            "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
        )
        for words in (["--help"], ["--version"]):
            done = subprocess.run(
                [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True
            )
            assert done.stderr.split("\n")[-2] == "[]", words


SMALL = ("model.hidden=[8]", "epochs=2")


class TestTheMachine:
    @pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
    @pytest.mark.parametrize(
        "words", [("device=gpu",), ("compute=cuda",), ("device=gpu", "rule=bp")], ids=str
    )
    def test_has_no_cuda(self, words: tuple[str, ...], dfa: Dfa) -> None:
        answer = dfa.train("data=digits", *SMALL, *words)
        refused(answer)
        assert "CUDA" in answer.err
        assert re.search("device=(cpu|auto)|compute=(cpu|auto)", answer.err)
        assert answer.err.count("\n") == 1
        assert dfa.left() == []

    def test_has_no_mps(self, dfa: Dfa) -> None:
        if torch.backends.mps.is_available():
            pytest.skip("this machine has it")
        answer = dfa.train("data=digits", *SMALL, "compute=mps")
        refused(answer)
        assert "mps" in answer.err
        assert dfa.left() == []

    def test_has_no_tf32(self, dfa: Dfa) -> None:
        answer = dfa.train("data=digits", *SMALL, "compute=cpu", "precision=tf32")
        refused(answer)
        assert "precision=tf32 needs a CUDA GPU" in answer.sentence
        assert "trains on the processor of this machine; use precision=fp32." in answer.sentence
        assert dfa.left() == []

    def test_simulated_has_too_few_mirrors(self, dfa: Dfa) -> None:
        """Only the whole configuration shows this mistake: ten classes do not fit on nine mirrors."""
        answer = dfa.train("data=digits", *SMALL, "device=opu_sim", "device.limits.mirrors=9")
        assert answer.code == 2
        assert "Traceback" not in answer.err
        assert re.search(r"10.*mirrors.*9", answer.sentence)
        assert dfa.left() == []

    def test_refuses_a_wrong_value_of_a_data_set(self, dfa: Dfa) -> None:
        answer = dfa.train("model=gcn", "data=digits_graph", "data.neighbours=0")
        assert answer.code == 2
        assert "Traceback" not in answer.err
        assert re.search(r"data\.neighbours.*0", answer.sentence)
        assert dfa.left() == []


@pytest.fixture
def alone(dfa: Dfa) -> Dfa:
    """Give `dfa` an empty cache, no mirror and no network."""
    dfa.environment["DFA_DATA_MIRROR"] = ""
    return dfa


class TestData:
    @pytest.mark.parametrize(("name", "model"), [("cora", "gcn"), ("mnist", "fc")])
    def test_that_is_unavailable_is_a_sentence_with_what_to_do(
        self, name: str, model: str, alone: Dfa
    ) -> None:
        answer = alone.train(f"data={name}", f"model={model}", "mirrors=[]", "model.hidden=[8]")
        assert answer.code == 2
        assert "Traceback" not in answer.err
        assert f"dfa data fetch {name}" in answer.err
        assert "DFA_DATA_MIRROR" in answer.err
        assert "data=digits" in answer.err
        assert alone.left() == []
        assert not list((alone.root / "cache").rglob("*")), "half a download"

    @pytest.mark.parametrize("named", [True, False], ids=["named", "by default"])
    @pytest.mark.parametrize("harm", ["corrupt", "truncated"])
    def test_that_is_damaged_is_named_and_never_unpickled(self, harm: str, named: bool, alone: Dfa) -> None:
        """This holds for a default data set as well: a damaged file has to be replaced, not hidden by a stand-in."""
        raw = alone.root / "cache" / "Cora" / "raw"
        raw.mkdir(parents=True)
        trap = alone.root / "sprung"
        attack = pickle.dumps(Trap(str(trap)))
        for file in CATALOGUE["cora"].files:
            content = attack + bytes(file.size - len(attack))
            (raw / file.name).write_bytes(content[: -100 if harm == "truncated" else None])
        answer = alone.train("model=gcn", "mirrors=[]", *(["data=cora"] if named else []))
        assert not trap.exists(), "an unknown pickle has been opened"
        if harm == "truncated" and not named:
            assert answer.code in (
                0,
                2,
            )  # a file of the wrong size counts as missing, so a stand-in may be used
            assert "cora" in answer.err
            return
        assert answer.code == 2
        assert "Traceback" not in answer.err
        assert CATALOGUE["cora"].files[0].name in answer.err
        assert re.search("corrupt|SHA-256", answer.err)
        assert CATALOGUE["cora"].files[0].sha256 in answer.err
        assert alone.left() == []


class Trap:
    """Leaves a mark when it is unpickled."""

    def __init__(self, path: str):
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return os.mkdir, (self.path,)


class TestKeysThatAClassDoesNotTake:
    """Only the class itself knows the keys that it takes, so the mistake is reported when the class is built."""

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (
                ["data=digits", "+rule.scal=2"],
                ["rule.scal is no key of dfa_cli.rules.DirectFeedbackAlignment (did you mean rule.scale?);"],
            ),
            (
                ["data=digits", "optimizer._target_=torch.optim.RMSprop"],
                [
                    "optimizer.fused is no key of torch.optim.RMSprop;",
                    "Type ~optimizer.fused to leave it out.",
                ],
            ),
            (
                ["data=digits", "tuned=fc_mnist_dfa"],
                [
                    "data.normalize is no key of dfa_cli.data.Digits; it takes no keys.",
                    "Type ~data.normalize to",
                ],
            ),
            (["data=digits_graph", "model=gat", "model.last.heads=4"], ["40 columns for 10 classes"]),
            (["data=digits_graph", "model=gat", "model.conv.heads=0"], ["GATConv", "model.conv"]),
            (["data=digits_graph", "model=cheb", "model.conv.K=0"], ["ChebConv", "AssertionError"]),
            (
                ["data=digits_graph", "model=gat", "model.conv._target_=torch_geometric.nn.GINConv"],
                [
                    "error: GINConv is made from (nn, eps, train_eps), and model.conv needs a convolution that is made "
                    "from (in_channels, out_channels, ...), as SAGEConv is."
                ],
            ),
            (
                ["data=digits_graph", "model=gat", "model.conv._target_=torch_geometric.nn.SAGEConv"],
                [
                    "error: SAGEConv does not take heads; leave it out: type ~model.conv.heads ~model.last.heads as "
                    "well."
                ],
            ),
            (
                ["data=digits_graph", "model=sage", "model.conv._target_=torch_geometric.nn.RGCNConv"],
                ["error: RGCNConv needs num_relations too: type +model.conv.num_relations=VALUE."],
            ),
            (
                ["data=digits_graph", "model=sage", "model.conv._target_=torch.nn.Linear"],
                ["error: Linear cannot be called with features and edges, as model.conv is"],
            ),
            (
                ["data=digits_graph", "model.conv.heads=3", "model=sage", "model.conv._target_=x.Y"],
                [
                    "error: The chosen model sets no model.conv.heads, so it is added with a plus: +model.conv.heads=3."
                ],
            ),
        ],
        ids=lambda value: value[-1],
    )
    def test_it_is_a_sentence(self, words: list[str], said: list[str], dfa: Dfa) -> None:
        answer = dfa.train(*words, "epochs=1", "progress=none")
        refused(answer)
        assert all(word in answer.sentence for word in said), answer.err


class TestAFolderWithSomethingInIt:
    """A folder given by hydra.run.dir that has content is never deleted and never used for a run."""

    def test_is_refused_for_a_run_and_kept(self, dfa: Dfa) -> None:
        thesis = dfa.root / "work" / "thesis.txt"
        thesis.parent.mkdir()
        thesis.write_text("years")
        for words in (("device=opu_sim", "device.limits.mirrors=1"), ()):
            answer = dfa.train("data=digits", *SMALL, *words, f"hydra.run.dir={thesis.parent}")
            refused(answer)
            assert "hydra.run.dir=" in answer.err
            assert [path.name for path in thesis.parent.iterdir()] == ["thesis.txt"]
            assert thesis.read_text() == "years"

    def test_that_is_empty_is_used_and_left_empty_by_a_refused_run(self, dfa: Dfa) -> None:
        place = dfa.root / "place"
        place.mkdir()
        wrong = ("device=opu_sim", "device.limits.mirrors=1", f"hydra.run.dir={place}")
        assert dfa.train("data=digits", *SMALL, *wrong).code == 2
        assert list(place.iterdir()) == []
        assert dfa.train("data=digits", *SMALL, f"hydra.run.dir={place}").code == 0
        assert (place / "run.json").exists()

    def test_takes_no_second_run(self, dfa: Dfa) -> None:
        place = dfa.root / "place"
        words = ("data=digits", *SMALL, f"hydra.run.dir={place}")
        assert dfa.train(*words).code == 0
        before = {path: path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()}
        answer = dfa.train(*words)
        refused(answer)
        assert "hydra.run.dir=" in answer.err
        assert {path: path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()} == before


class TestTheOutputsFolder:
    @pytest.mark.parametrize("flags", [(), ("-m", "seed=0,1")], ids=["a run", "a sweep"])
    def test_that_cannot_be_made_is_a_sentence(self, flags: tuple[str, ...], dfa: Dfa) -> None:
        (dfa.root / "file").write_text("not a folder")
        dfa.outputs = dfa.root / "file" / "outputs"
        answer = dfa("train", *dfa.arguments(*flags, "data=digits", *SMALL))
        refused(answer)
        assert str(dfa.outputs) in answer.err
        assert "outputs=" in answer.err
        assert answer.err.count("\n") == 1
        assert (dfa.root / "file").read_text() == "not a folder"

    @pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is a file system of Linux")
    @pytest.mark.parametrize("flags", [(), ("-m", "seed=0,1")], ids=["a run", "a sweep"])
    def test_on_a_file_system_that_takes_no_folder_is_a_sentence(
        self, flags: tuple[str, ...], dfa: Dfa
    ) -> None:
        dfa.outputs = Path("/proc/outputs")
        answer = dfa("train", *dfa.arguments(*flags, "data=digits", *SMALL))
        refused(answer)
        assert re.fullmatch(
            "error: /proc/outputs/.* cannot be made, since /proc takes no new folder: name another folder with "
            "outputs=FOLDER.",
            answer.sentence,
        )

    def test_that_is_read_only_is_a_sentence(self, dfa: Dfa) -> None:
        answer, left = on_a_disk_of(dfa, "1m,ro", "data=digits", *SMALL)
        refused(answer)
        assert re.search("[Rr]ead-only", answer.err)
        assert "outputs=" in answer.err
        assert left == []

    def test_on_a_full_disk_is_a_sentence(self, dfa: Dfa) -> None:
        """There is no room from the start, so nothing is measured and nothing is left."""
        answer, left = on_a_disk_of(dfa, "16k", "data=digits", *SMALL)
        assert answer.code == 2, answer.err
        assert "Traceback" not in answer.err
        assert re.search("[Nn]o space", answer.err)
        assert "outputs=" in answer.err
        assert [name for name in left if name.endswith((".json", ".csv", ".safetensors", ".tmp"))] == []

    def test_on_a_disk_that_runs_full_keeps_what_was_measured(self, dfa: Dfa) -> None:
        answer, left = on_a_disk_of(
            dfa, "60k", "data=digits", "model.hidden=[8]", "batch_size=null", "epochs=20000"
        )
        assert answer.code == 2, answer.err
        assert "Traceback" not in answer.err
        assert re.search("[Nn]o space", answer.err)
        assert any(name.endswith("metrics.csv") for name in left)
        assert any(name.endswith("run.json") for name in left)
        assert not any(name.endswith(".tmp") for name in left)

    def test_on_a_disk_with_no_room_for_the_weights(self, dfa: Dfa) -> None:
        """The weights are the last file that a run writes."""
        answer, left = on_a_disk_of(dfa, "200k", "data=digits", "model.hidden=[800]", "epochs=1")
        assert answer.code == 2, answer.err
        assert "Traceback" not in answer.err
        assert re.search("[Nn]o space", answer.err)
        assert not any(name.endswith((".tmp", "weights.safetensors")) for name in left)


def on_a_disk_of(dfa: Dfa, options: str, *overrides: str) -> tuple[Answer, list[str]]:
    """Run `dfa train` with its outputs on a small disk. Returns the answer, and the files on the disk afterwards."""
    disk = dfa.root / "disk"
    disk.mkdir()
    if shutil.which("unshare") is None:
        pytest.skip("a disk of its own needs Linux and unshare")
    unshare = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-r", "-m"]
    mount = f"mount -t tmpfs -o size={options} tmpfs '{disk}'"
    if subprocess.run([*unshare, "sh", "-c", mount], capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine lets no process mount a disk of its own")
    script = f'{mount}; "$@"; code=$?; find "{disk}" -type f > "{dfa.root}/left"; exit $code'
    command = [
        sys.executable,
        "-m",
        "dfa_cli.cli",
        "train",
        f"outputs={disk}/outputs",
        "threads=1",
        *overrides,
    ]
    done = subprocess.run(
        [*unshare, "sh", "-c", script, "sh", *command],
        capture_output=True,
        text=True,
        env={**os.environ, **dfa.environment},
        check=False,
        timeout=PATIENCE,
    )
    left = (dfa.root / "left").read_text().split()
    return Answer(done.returncode, done.stdout, done.stderr), [
        str(Path(name).relative_to(disk)) for name in left
    ]


class TestALossThatIsNoNumber:
    DIVERGING = (
        "data=digits",
        "model.hidden=[8]",
        "optimizer=sgd",
        "optimizer.lr=1e30",
        "model.activation=relu",
        "rule=bp",
    )

    @pytest.mark.parametrize("batch", ["null", "100"], ids=["after epochs", "in the first epoch"])
    def test_ends_the_run_and_is_recorded_with_the_epoch(self, batch: str, dfa: Dfa) -> None:
        answer = dfa.train(*self.DIVERGING, f"batch_size={batch}", "epochs=50")
        assert answer.code == 1
        assert "Traceback" not in answer.err
        assert answer.err.count("\n") == 1
        found = re.search(r"(nan|inf).* epoch (\d+)", answer.err)
        assert found
        assert "optimizer.lr" in answer.err
        epoch = int(found[2])
        (run,) = dfa.runs()
        record = run.record
        assert record["status"] == "failed"
        assert record["ended"] is not None
        assert record["error"]["type"] == "DivergenceError"
        assert f"epoch {epoch}" in record["error"]["message"]
        assert record["error"]["epoch"] == epoch
        if epoch > 1:
            assert [row["epoch"] for row in run.metrics] == [str(i) for i in range(1, epoch)]
        assert "Traceback" in run.log
        assert not (run.folder / "weights.safetensors").exists()

    def test_in_one_job_of_a_sweep_stops_no_other_job(self, dfa: Dfa) -> None:
        answer = dfa(
            "train", "-m", *dfa.arguments("optimizer.lr=1e30,0.1", *self.DIVERGING[:3], *self.DIVERGING[4:])
        )
        assert answer.code not in (0, None)
        assert "Traceback" not in answer.err
        status = {run.record["config"]["optimizer"]["lr"]: run.record["status"] for run in dfa.runs()}
        assert status == {1e30: "failed", 0.1: "completed"}


def test_a_run_id_names_no_other_folder(dfa: Dfa) -> None:
    answer = dfa.train("data=digits", *SMALL, "run_id=../x")
    assert answer.code == 2
    assert "run_id" in answer.sentence
    assert dfa.folders() == []
