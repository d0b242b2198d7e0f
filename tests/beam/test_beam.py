"""`dfa beam`: the noise by its sources, measured and by formula, and the picture."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from program import Dfa

from dfa_cli.beam.follow import follow, lit_at_random
from dfa_cli.config.compose import compose_run
from dfa_cli.config.instantiate import build

N_IN, N_OUT = 10, 4096


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["device.camera.photons=10"],
        ["device.macropixel=1000"],  # a hundredth of the light
        ["device/readout=off_axis"],
        ["device/readout=off_axis", "device.readout.demodulation=local"],
        ["device/readout=off_axis", "device.camera.bits=6"],
        ["device/readout=phase_shifting", "device.camera.photons=100"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("lit", [1, 5])
def test_the_measured_ratio_is_the_one_of_the_formula(words: list[str], lit: int) -> None:
    """The noise of 4,096 modes has a deviation of 2 %, which is 0.1 dB, and so has the signal."""
    device = build(compose_run(["data=digits", "device=opu_sim", *words]).config["device"])
    device.prepare(N_IN, N_OUT, torch.device("cpu"))
    beam = follow(device, lit_at_random(device, N_IN, lit))
    assert int(beam.pattern.sum()) == lit
    assert beam.budget is not None
    # The formula takes the mean of |E|^2 over media; this frame has its own.
    assert beam.measured_snr_db == pytest.approx(beam.budget.snr_db, abs=0.5)


def test_the_fringes_lie_at_the_carrier_and_the_power_of_the_speckle_below_it() -> None:
    device = build(compose_run(["data=digits", "device=opu_sim", "device/camera=ideal"]).config["device"])
    device.prepare(N_IN, N_OUT, torch.device("cpu"))
    image = follow(device, lit_at_random(device, N_IN, 5)).image
    assert image is not None
    assert image.band is not None
    assert image.carrier == pytest.approx(3 / 8)
    low, high = image.band
    inside = (image.frequencies >= low) & (image.frequencies < high)
    power = image.spectrum.clone()
    power[0] = 0
    # Of 1 + reference = 5 parts of light, |E|^2 has the variance 1; the fringes have 2 * 4 * sinc^2, half in the real
    # part of the spectrum's positive frequencies.
    assert 4 < float(power[inside].sum() / power[~inside].sum()) < 10
    assert float(image.speckle.mean()) == pytest.approx(1.0)
    assert float(image.speckle.min()) > -1e-3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["device=opu_holographic", "--lit", "3"], r"3 of 10 components lit, 103,968 mirrors each"),
        (
            ["device=opu_lighton", "device.macropixel=7"],
            r"7 mirrors each, .* at 512 modes, in 5 frames of the camera: 2.50 ms",
        ),
        (
            ["device=opu_lighton", "device/readout=intensity"],
            r"1 frame of the camera: 500 µs.* no formula for the noise of .* dB between abs\(E\)\^2 and what is read",
        ),
        (["device/readout=ideal"], r"what is read is exactly Re E, without noise"),
        (
            ["device.perfect=true"],
            r"device.perfect=true shows an error in 1 pattern. .*what is read is exactly Re E, without noise",
        ),
        (["device.macropixel=1"], r"lit, 1 mirror each.* collects 0\.0\d+ photoelectrons in 100 %"),
        (
            ["device.camera.photons=10"],
            r"collects \d\.\d photoelectrons\. The light .* by device.camera.photons",
        ),
        (
            ["device/readout=off_axis", "device.camera.bits=4"],
            r"0.59 grey levels.* formula does not hold. .*camera.bits=5 or",
        ),
        (["device/drift=reference"], r"without the drift of the optics"),
        (["device.remove_sum=true"], r"read alone, so no sum is removed"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_every_read_out_has_a_table_and_a_picture(
    words: list[str], said: str, dfa: Dfa, tmp_path: Path
) -> None:
    picture = tmp_path / "beam.svg"
    answer = dfa("beam", *words, "--outputs", "512", "--out", str(picture))
    assert answer.code == 0, answer.err
    assert re.search(said, answer.out.replace("\n", " "))
    assert max(map(len, answer.out.splitlines())) <= 80
    drawn = picture.read_text().replace("- -", "--")  # as a comment of XML spells it
    assert drawn.startswith("<?xml")
    size = "--inputs 10 --outputs 512" + (" --lit 3" if "--lit" in words else "")
    assert f"{size}." in drawn, "the command below the picture makes it again"
    assert answer.err.startswith("wrote ")


@pytest.mark.parametrize("word", ["device/encoding=sign", "device.encoding.threshold=0.2"])
def test_an_encoding_that_lights_nothing_is_named(word: str, dfa: Dfa) -> None:
    words = ["beam", "device/encoding=ternary", word] if word.startswith("device.") else ["beam", word]
    named = f"no encoding does, so {' '.join(words[1:])} changes nothing."
    lit = dfa(*words, "--lit", "3", "--outputs", "64")
    assert named in lit.err
    assert lit.out == dfa("beam", "--lit", "3", "--outputs", "64").out
    assert not dfa(*words, "--outputs", "64").err


@pytest.mark.parametrize("encoding", ["dithered", "sign", "two_scales", "bitplanes", "one_component"])
def test_the_pattern_is_one_that_the_configured_encoding_shows(
    encoding: str, dfa: Dfa, tmp_path: Path
) -> None:
    """Of an error of ten classes, whose one negative entry is shown alone."""
    (tmp_path / "one_component.py").write_text(
        "import torch\n"
        "from dfa_cli.devices.opu.encoding import Frames\n"
        "class OneComponent:\n"
        "    def encode(self, error, draws):\n"
        "        pattern = torch.zeros(1, *error.shape)\n"
        "        pattern[0, :, 4] = 1.0\n"
        "        return Frames(pattern, pattern.amax(2), (1.0,), torch.ones(len(error), 1))\n"
    )
    (tmp_path / "device" / "encoding").mkdir(parents=True)
    (tmp_path / "device" / "encoding" / "one_component.yaml").write_text(
        "_target_: one_component.OneComponent\n"
    )
    answer = dfa("beam", "--config-dir", str(tmp_path), f"device/encoding={encoding}", "--outputs", "512")
    assert answer.code == 0, answer.err
    text = " ".join(answer.out.split())
    lit = int(found[1]) if (found := re.search(r"pattern with (\d+) of 10 components lit", text)) else 0
    if encoding == "one_component":
        assert "device/encoding=one_component shows an error in 1 pattern. " in text
        assert lit == 1
    elif encoding == "sign":
        assert "in 2 patterns, with 9 and 1 components lit. The brightest is followed." in text
        assert lit == 9
    else:
        assert f"device/encoding={encoding} shows an error in" in text
        assert 1 <= lit < 9


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["device/encoding=ternary", "device.encoding.threshold=2", "device.encoding.relative=false"],
            "device/encoding=ternary lights no component for the error of this command. Follow a pattern with --lit N",
        ),
        (
            ["--lit", "11"],
            "--lit is 11. It must be a whole number of at least 1 and at most 10, the --inputs.",
        ),
        (
            ["--inputs", "1"],
            "With --inputs 1 the error is always zero, and no pattern is shown of it. Follow a pattern",
        ),
        (["--inputs", "0"], "--inputs is 0. It must be a whole number of at least 1."),
        (["device=cpu"], "device=cpu has no beam of light; choose device=opu_sim"),
        (
            ["device=opu_sim,cpu"],
            "device=opu_sim,cpu has several values, and dfa beam takes one; give one of them.",
        ),
        (["--out", "beam.txt"], "--out beam.txt: the name must end in .png, .svg or .pdf"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_one_sentence(words: list[str], said: str, dfa: Dfa) -> None:
    answer = dfa("beam", *words)
    assert answer.code == 2
    assert said in answer.sentence


def test_the_picture_names_the_whole_command(dfa: Dfa, tmp_path: Path) -> None:
    picture = tmp_path / "beam.svg"
    answer = dfa(
        "beam", "device=opu_lighton", "--inputs", "4", "--lit", "1", "--outputs", "64", "--out", str(picture)
    )
    assert answer.code == 0, answer.err
    assert (
        "dfa beam device=opu_lighton - -inputs 4 - -outputs 64 - -lit 1." in picture.read_text()
    )  # in a comment of the SVG


def test_the_picture_names_the_folder_of_own_options(dfa: Dfa, tmp_path: Path) -> None:
    (tmp_path / "my labs" / "device").mkdir(parents=True)
    (tmp_path / "my labs" / "device" / "mylab.yaml").write_text("defaults:\n  - opu_sim\n  - _self_\n")
    picture = tmp_path / "beam.svg"
    words = [
        "--config-dir",
        str(tmp_path / "my labs"),
        "device=mylab",
        "--outputs",
        "64",
        "--out",
        str(picture),
    ]
    answer = dfa("beam", *words)
    assert answer.code == 0, answer.err
    command = re.search(r"dfa beam - -config-dir '([^']+)' device=mylab - -inputs 10", picture.read_text())
    assert command
    assert command[1] == str(tmp_path / "my labs")


def test_a_projection_without_noise_is_told_in_words(dfa: Dfa, tmp_path: Path) -> None:
    picture = tmp_path / "beam.svg"
    answer = dfa("beam", "device.perfect=true", "--outputs", "64", "--out", str(picture))
    assert "Measured here over 64 modes: what is read is exactly Re E, without noise." in " ".join(
        answer.out.split()
    )
    assert "Read against true: equal" in picture.read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        # docs/opu.md: the well of 10,000 is full at (2 + 3)^2 times |E|^2, an average pixel gets 5 times |E|^2.
        (
            "device.laser.watts=5e-3 --lit 5",
            r"collects (1,9\d\d|2,0\d\d) photoelectrons in 15 % of the full exposure. It is set for the calibration "
            r"pattern, with 5 of 10 components lit: a longer one would fill its brightest pixels\.",
        ),
        # The exposure is that of the calibration pattern, however much light the pattern has.
        (
            "device.laser.watts=5e-3 --lit 1 --inputs 20",
            r"in 15 % of the full exposure. It is set for the calibration pattern, with 10 of 20 components lit",
        ),
        ("device.camera.exposure=0.25", r"in 25 % of the full exposure. device.camera.exposure sets it\."),
        # A tenth of the default light, which is 2,584 photoelectrons.
        (
            "device.laser.watts=1e-4 --lit 5",
            r"collects 2[56]\d photoelectrons in 100 % of the full exposure. The full exposure is used",
        ),
    ],
)
def test_what_limits_the_light_is_told(words: str, said: str, dfa: Dfa) -> None:
    answer = dfa("beam", *words.split())
    assert re.search(said, answer.out.replace("\n", " ")), answer.out


def test_a_read_out_of_your_own_is_measured(dfa: Dfa, tmp_path: Path) -> None:
    """Noise of a tenth of the signal's r.m.s. value is 20 dB below it: Re E has the variance of the lit components."""
    (tmp_path / "tenth.py").write_text(
        "import torch\n"
        "from dfa_cli.devices.opu import Ideal\n"
        "class Tenth(Ideal):\n"
        "    def calibrate(self, lit, camera):\n"
        "        self.deviation = 0.1 * lit**0.5\n"
        "    def read(self, field, frames, noise):\n"
        "        real = field[:, :, :1]\n"
        "        noisy = real + self.deviation * torch.randn(real.shape, generator=noise)\n"
        "        return super().read(noisy, frames, noise)\n"
    )
    folder = tmp_path / "device" / "readout"
    folder.mkdir(parents=True)
    (folder / "tenth.yaml").write_text("_target_: tenth.Tenth\n")
    answer = dfa(
        "beam", "--config-dir", str(tmp_path), "device=opu_sim", "device/readout=tenth", "--lit", "5"
    )
    assert answer.code == 0, answer.err
    measured = re.search(r"(\d+\.\d) dB between Re E", answer.out.replace("\n", " "))
    assert measured
    assert float(measured[1]) == pytest.approx(20, abs=0.5)
