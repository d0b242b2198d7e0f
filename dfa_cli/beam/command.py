"""Answers `dfa beam`: builds the device, follows a pattern, and writes the noise by its sources and the picture."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from dfa_cli.console import output
from dfa_cli.console.table import lay_out, wrap
from dfa_cli.console.values import duration, plural, with_s
from dfa_cli.errors import DfaError


def run(
    overrides: Sequence[str],
    config_dir: str | None,
    n_in: int,
    n_out: int,
    lit: int | None,
    out: Path | None,
    force: bool,
) -> None:
    """Follow a pattern on the device that the overrides choose, `opu_sim` by default.

    `lit`: number of its components that are lit; `None`: as the encoding shows an error.

    Raises `DfaError` for numbers out of bounds, and for a device without light.
    """
    for option, value, least, most in (
        ("--inputs", n_in, 1, None),
        ("--outputs", n_out, 2, None),
        ("--lit", lit, 1, n_in),
    ):
        if value is not None and not least <= value <= (most or math.inf):
            upper = f" and at most {most}, the --inputs" if most else ""
            raise DfaError(f"{option} is {value}. It must be a whole number of at least {least}{upper}.")
    if out is not None:
        from dfa_cli.plots.style import check_suffix

        check_suffix(out)
        output.check_free(out, force)

    from dfa_cli.config.compose import compose_run

    flags = ["--config-dir", config_dir] if config_dir else []
    device_words = [] if any(word.startswith("device=") for word in overrides) else ["device=opu_sim"]
    spec = compose_run([*flags, *device_words, *overrides], "dfa beam")
    node, name = spec.config["device"], spec.choices["device"]

    import torch

    from dfa_cli.config.instantiate import build, files_named
    from dfa_cli.devices.opu import OPU, Intensity

    with files_named(spec):
        device = build(node)
    if not isinstance(device, OPU):
        raise DfaError(
            f"device={name} has no beam of light; choose device=opu_sim, or another simulated device."
        )
    device.prepare(n_in, n_out, torch.device("cpu"))

    from dfa_cli.beam.follow import follow, lit_at_random, shown_of_an_error
    from dfa_cli.beam.pictures import SOURCES, draw
    from dfa_cli.devices.opu.readout.statistical import too_coarse

    if lit is None:
        shower = (
            "device.perfect=true" if device.perfect else f"device/encoding={spec.choices['device/encoding']}"
        )
        shown = shown_of_an_error(device, n_in)
        if not len(shown):
            if n_in == 1:
                raise DfaError(
                    "With --inputs 1 the error is always zero, and no pattern is shown of it. Follow a pattern with "
                    "--lit 1, or give --inputs of at least 2."
                )
            raise DfaError(
                f"{shower} lights no component for the error of this command. Follow a pattern with --lit N, or "
                "choose another device/encoding."
            )
        counts = shown.count_nonzero(1)
        pattern = shown[counts.argmax()]
        opening = f"{shower} shows an error in {plural(len(shown), 'pattern')}"
        if len(shown) > 1:
            *others, last = counts.tolist()
            opening += (
                f", with {', '.join(map(str, others))} and {last} components lit. The brightest is followed"
            )
        opening += ". "
    else:
        pattern, opening = lit_at_random(device, n_in, lit), ""
        if typed := [word for word in overrides if re.match(r"device[./]encoding\b", word)]:
            output.write_stderr(
                f"note: --lit lights components at random, and no encoding does, so {' '.join(typed)} changes nothing."
            )
    lit = int(pattern.count_nonzero())
    beam = follow(device, pattern)
    width = output.terminal_width() or 80
    exposures = device.readout.exposures
    mirrors = device.mirrors_per_component
    sentences = [
        f"{opening}A pattern with {lit} of {n_in} components lit, {mirrors:,} {with_s('mirror', mirrors)} each, on "
        f"device={name}. It is read at {n_out:,} modes, in {plural(exposures, 'frame')} of the camera: "
        f"{duration(exposures * device.seconds_per_frame, fine=True)}, modelled."
    ]
    if beam.budget and beam.budget.noise:
        lines = []
        for key, words in SOURCES.items():
            part = getattr(beam.budget, key)
            ratio = f"{10 * math.log10(beam.budget.signal / part):.1f} dB" if part else "–"
            lines.append([words, f"{100 * part / beam.budget.noise:.1f} %", ratio])
        lines.append(["together", "100.0 %", f"{beam.budget.snr_db:.1f} dB"])
        table = lay_out(["noise", "share", "signal over it"], lines, [True, False, False])
        output.write_stdout("\n".join([*wrap(sentences.pop(), width), "", *table, ""]) + "\n")
    if beam.budget and (found := too_coarse(device.readout)):
        sentences.append(
            f"The light of one lit component varies by {found[0]:.2g} grey levels. Rounding to so coarse levels is "
            f"not random, so the formula does not hold. Choose device.camera.bits={found[1]} or more."
        )
    if isinstance(device.readout, Intensity):
        sentences.append(
            "There is no formula for the noise of device/readout=intensity, so no table says where it comes from."
        )
    if device.drift:
        sentences.append("The pattern is one of the first step, without the drift of the optics.")
    if device.remove_sum:
        sentences.append("The pattern is read alone, so no sum is removed from the row that it is part of.")
    found_ratio = (
        f"{beam.measured_snr_db:.1f} dB between {beam.what} and what is read"
        if math.isfinite(beam.measured_snr_db)
        else f"what is read is exactly {beam.what}, without noise"
    )
    sentences.append(f"Measured here over {n_out:,} modes: {found_ratio}.")
    if beam.image and device.camera.photons is not None:
        # As `OPU.calibrate` counts them.
        calibration = f"{max(1.0, device.calibration * n_in):g} of {n_in} components lit"
        is_fixed = device.camera.exposure != "auto"
        sentences.append(_light(beam.image.photoelectrons, beam.image.exposed, is_fixed, calibration))
    output.write_stdout("\n".join(line for words in sentences for line in wrap(words, width)) + "\n")
    if out is not None:
        from dfa_cli.plots.style import save

        size = f"--inputs {n_in} --outputs {n_out}" + ("" if opening else f" --lit {lit}")
        words = " ".join([*map(shlex.quote, [*flags, *device_words, *overrides]), size])
        below = f"dfa beam {words}. Simulated."
        if beam.image and beam.image.band:
            below += " Shaded in the spectrum: the band of the fringes."
        figure = draw(beam, device.limits.mirrors, device.mirrors_per_component, below)
        output.write_file(out, save(figure, out.suffix), force)
        output.write_stderr(f"wrote {out}")


def _light(photoelectrons: float, exposed: float | None, is_fixed: bool, calibration: str) -> str:
    """Say how much light a pixel gets, and what sets this limit.

    `is_fixed`: `device.camera.exposure` is a number. `calibration`: what is lit of the calibration pattern.
    """
    count = f"{photoelectrons:,.0f}" if photoelectrons >= 10 else f"{photoelectrons:.2g}"
    collects = f"An average pixel collects {count} photoelectrons"
    if exposed is None:
        return f"{collects}. The light of the calibration pattern is set by device.camera.photons."
    limit = (
        "device.camera.exposure sets it."
        if is_fixed
        else "The full exposure is used: more light (device.laser.watts) would lower the noise."
        if math.isclose(exposed, 1.0)
        else f"It is set for the calibration pattern, with {calibration}: a longer one would fill its brightest pixels."
    )
    return f"{collects} in {100 * exposed:.0f} % of the full exposure. {limit}"
