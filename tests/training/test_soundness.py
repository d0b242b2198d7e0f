"""A completed run is finite, a failure names what is not, and a device that did nothing is told of."""

from __future__ import annotations

import json

import pytest
import torch
from program import Dfa

from dfa_cli.devices.opu import OPU, Camera, OffAxis

WORDS = ("data=digits", "model.hidden=[8]", "progress=none")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("optimizer.lr=1e38", "epochs=1", "batch_size=null", "device=cpu"),
            "are the weights of block 1. Try",
        ),
        (("optimizer.lr=1e38", "epochs=3", "rule=shallow"), "are the weights of block 2. Try"),
        (
            ("optimizer.lr=1e37", "epochs=1", "batch_size=null", "device=cpu", "model.activation=relu"),
            "are the activations of block 2. Try",
        ),
        (
            ("optimizer.lr=1e37", "epochs=1", "batch_size=null", "device=cpu"),
            "are the losses, since the activations of block 2 reach",
        ),
        (
            ("device=opu_sim", "device.camera.photons=1e-30", "epochs=1"),
            "the projection device answers a finite error with values that are not finite. "
            "No light reached the camera: all its pixels together collect less than one photoelectron of a frame. "
            "Raise device.camera.photons.",
        ),
        (
            ("device=opu_sim", "device.camera.read_noise=1e30", "epochs=1"),
            "Raise device.laser.watts or lower device.camera.read_noise.",
        ),
        (
            ("device=opu_sim", "device.readout.wrapped.reference=1e38", "epochs=1"),
            "Change its options, device.KEY=VALUE",
        ),
    ],
    ids=["last epoch", "last block", "activations", "losses", "no light", "noise", "device"],
)
def test_a_run_that_is_not_finite_fails_and_names_the_first_cause(
    words: tuple[str, ...], said: str, dfa: Dfa
) -> None:
    answer = dfa.train(*WORDS, *words)
    assert answer.code == 1
    assert said in answer.sentence
    assert ("optimizer.lr" in answer.err) == ("device" not in said)
    (run,) = dfa.runs()
    assert run.record["status"] == "failed"
    assert run.record["error"]["message"] in answer.sentence
    assert not (run.folder / "weights.safetensors").exists()


def test_a_checkpoint_holds_no_infinite_weights_and_what_was_measured_stays(dfa: Dfa) -> None:
    words = ("optimizer.lr=1e38", "epochs=9", "batch_size=null", "device=cpu", "checkpoint_every=1")
    assert dfa.train(*WORDS, *words).code == 1
    (run,) = dfa.runs()
    assert [row["epoch"] for row in run.metrics] == ["1"]
    assert run.record["result"]["last_epoch"] == 1
    assert not (run.folder / "checkpoint.safetensors").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("device/encoding=ternary", "device.encoding.threshold=0.9999999999"),
            "The device lit no mirror in a whole epoch",
        ),
        (
            ("device/readout=off_axis", "device.camera.exposure=1.0", "device.camera.photons=1e9"),
            "Most of the camera's pixels were saturated in a whole epoch",
        ),
        (
            ("device.readout.wrapped.headroom=0.5",),
            "More than one in a hundred of the camera's pixels were saturated in a whole epoch: raise "
            "device.readout.wrapped.headroom",
        ),
        (
            ("device/readout=off_axis", "device.camera.photons=1e-30"),
            "No light reached the camera: all its pixels together collect less than one photoelectron of a frame. "
            "Raise device.camera.photons.",
        ),
        (
            ("device/readout=intensity", "device.laser.watts=1e-20"),
            "No light reached the camera: all its pixels together collect less than one photoelectron of a frame. "
            "Raise device.laser.watts.",
        ),
        (
            ("device/readout=off_axis", "device.camera.photons=1"),
            "Noise drowned the light on the camera: the signal-to-noise ratio of a pattern with one component lit is "
            "-25 dB. Raise device.camera.photons or lower device.camera.read_noise.",
        ),
        (
            ("device.macropixel=16",),
            "Noise drowned the light on the camera: the signal-to-noise ratio of a pattern with one component lit is "
            "-33 dB. Raise device.macropixel or device.laser.watts, or lower device.camera.read_noise.",
        ),
    ],
    ids=["dark", "saturated", "partly saturated", "no light", "dim laser", "noise", "few mirrors"],
)
def test_a_device_that_tells_nothing_warns_and_marks_its_row(
    words: tuple[str, ...], said: str, dfa: Dfa
) -> None:
    common = ("data=digits", "model.hidden=[8]", "epochs=2", "device=opu_sim")
    answer = dfa.train(*common, *words)
    assert answer.code == 0
    assert said in " ".join(answer.out.split())
    (warned,) = dfa.runs()
    (sentence,) = warned.record["warnings"]
    assert sentence.startswith(said)
    assert "warnings" not in warned.record["projection"]
    plain = dfa.run(*common, "progress=none")
    assert "warnings" not in plain.record

    listed = dfa("runs", str(dfa.outputs)).out
    assert listed.count("completed !") == 1
    assert f"! 1 run: {said}" in listed
    assert said in dfa("show", str(warned.folder)).out
    compared = dfa("compare", str(dfa.outputs), "--columns", "n").out
    assert compared.count("! in 1 of 1 run") == 1
    assert f"! 1 run: {said}" in compared
    rows = json.loads(dfa("compare", str(dfa.outputs), "--format", "json").out)["groups"]
    assert sorted(row["warned_runs"] for row in rows) == [0, 1]


@pytest.mark.parametrize("camera", [Camera(photons=3.0), Camera(read_noise=1000.0), Camera()], ids=str)
@pytest.mark.parametrize("classes", [7, 10])
def test_light_with_which_training_works_gives_no_warning(classes: int, camera: Camera) -> None:
    """docs/results.csv: `dfa` with two or three blocks learns Cora and MNIST with this light."""
    opu = OPU(readout=OffAxis(), camera=camera)
    opu.prepare(classes, 64, torch.device("cpu"))
    opu.project(torch.randn(4, classes, generator=torch.Generator().manual_seed(0)))
    assert opu.cost().warnings == []
