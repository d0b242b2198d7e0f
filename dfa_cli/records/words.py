"""Describes a run, and the code that made it, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from dfa_cli.config.parts import changed_parts
from dfa_cli.config.schema import projects
from dfa_cli.console.values import MISSING, NOTHING, duration, format_value, grouped, number, plural, quantity
from dfa_cli.records.fallback import data_in_words, todays_sentence
from dfa_cli.records.run import Run

FULL_PRECISION = "fp32"


def run_in_words(config: Mapping[str, Any], choices: Mapping[str, Any]) -> str:
    """Describes a run: `gcn [64] on cora, trained by dfa on opu_sim, seed 3`.

    The widths of the hidden blocks follow the model. The device is named only where the training rule projects
    something, with those of its parts that are not its own: `on opu_sim, device/readout=off_axis`. The precision
    follows if it is not that of float32. A stand-in is named as in a table, `digits_graph for cora`.
    """
    return f"{kind_in_words(config, choices)}, seed {format_value(config.get('seed', MISSING))}"


def kind_in_words(config: Mapping[str, Any], choices: Mapping[str, Any]) -> str:
    """Describes a run without its seed: `gcn [64] on cora, trained by dfa on opu_sim`."""
    data = data_in_words(choices, config.get("data_fallback"))
    return f"{_model(config, choices)} on {data}, {_training(config, choices)}"


def heading(config: Mapping[str, Any], choices: Mapping[str, Any]) -> str:
    """Describes a run that begins, with the number of its processes if there are several.

    The heading ends with the whole sentence about a stand-in, if there is one.
    """
    parallel = config.get("parallel") or {}
    part = part_in_words(config)
    count = parallel.get(f"{part}s")
    divided = f", {plural(count, part)}, a process each" if isinstance(count, int) and count > 1 else ""
    if not config.get("data_fallback"):
        return run_in_words(config, choices) + divided
    sentence = todays_sentence(choices, config["data_fallback"])
    seed = format_value(config.get("seed", MISSING))
    return f"{_model(config, choices)}, {_training(config, choices)}, seed {seed}{divided}, on {sentence}"


def part_in_words(config: Mapping[str, Any]) -> str:
    """Names what a process of a parallel run computes: a `stage` of the model, or a `replica` of it."""
    return "replica" if "replicas" in (config.get("parallel") or {}) else "stage"


def _model(config: Mapping[str, Any], choices: Mapping[str, Any]) -> str:
    words = format_value(choices.get("model") or NOTHING)
    model = config.get("model")
    return (
        f"{words} {format_value(model['hidden'])}" if isinstance(model, dict) and "hidden" in model else words
    )


def _training(config: Mapping[str, Any], choices: Mapping[str, Any]) -> str:
    rule, device = (format_value(choices.get(name) or NOTHING) for name in ("rule", "device"))
    words = f"trained by {rule}"
    if isinstance(config.get("rule"), dict) and projects(config):
        resolved = config.get("device") if device == "auto" else None
        words += f" on {resolved.get('where', device) if isinstance(resolved, dict) else device}"
        for group, option in changed_parts(choices).items():
            words += f", {format_value(group)}={format_value(option)}"
    return words + "".join(f", {word}" for word in precision_in_words(config))


def precision_in_words(config: Mapping[str, Any]) -> list[str]:
    """Name the precision of a run if its numbers differ from those of float32: `["precision=bf16"]`."""
    precision = config.get("precision", FULL_PRECISION)
    return [] if precision == FULL_PRECISION else [f"precision={format_value(precision)}"]


def drift_in_words(config: Mapping[str, Any], notes: Mapping[str, Any]) -> list[str]:
    """Say how the optics changed, in lines: the medium, and the phase of the reference beam. Without drift, none.

    `notes`: those of the projection device, for the times that the configuration does not tell.
    """
    device = config.get("device")
    if not isinstance(device, Mapping) or not isinstance(config.get("rule"), Mapping) or not projects(config):
        return []
    drift = device.get("drift")
    if not isinstance(drift, Mapping) or not drift:
        return []
    lines = []
    if (tau := number(drift.get("tau"))) is not None:
        steps, seconds = (number(notes.get(f"coherence_time_{unit}")) for unit in ("steps", "seconds"))
        if steps is None or seconds is None:
            lines.append(f"medium, coherence time {grouped(tau)} {format_value(drift.get('unit', MISSING))}")
        else:
            lines.append(
                f"medium, coherence time {grouped(steps)} step{'s' * (steps != 1)}, {duration(seconds)}"
            )
    units = {"walk": "rad per root step", "jitter": "rad"}
    phase = [f"{name} {size:g} {unit}" for name, unit in units.items() if (size := number(drift.get(name)))]
    if phase:
        lines.append(f"phase of the reference beam, {', '.join(phase)}")
    if lines and (left := number(notes.get("correlation_with_first_matrix"))) is not None:
        jitter = ", jitter aside" if number(drift.get("jitter")) else ""
        lines.append(f"correlation of the last matrix with the first {left:.2f}{jitter}")
    return lines


def noise_in_words(notes: Mapping[str, Any]) -> str | None:
    """Say the signal-to-noise ratios that a record has: `SNR 28.5 dB (calibration pattern), ...`."""
    patterns = {"snr_db": "calibration pattern", "snr_db_one_lit": "one component lit"}
    known = {name: value for name in notes if (value := number(notes[name])) is not None}
    ratios = [f"{known[name]:.1f} dB ({pattern})" for name, pattern in patterns.items() if name in known]
    return f"SNR {', '.join(ratios)}" if ratios else None


def light_in_words(seconds: float, joules: float) -> str:
    """Say the modelled time and energy of a run: `6.55 min, 47.2 kJ`."""
    return f"{duration(seconds)}, {quantity(joules, 'J')}"


def warning_notes(runs: Iterable[Run]) -> list[str]:
    """Return a note for each warning that runs of the list hold, with the number of these runs."""
    counts = Counter(sentence for run in runs for sentence in run.warnings)
    return [f"! {plural(count, 'run')}: {sentence}" for sentence, count in counts.items()]


def commit_in_words(git: Mapping[str, Any] | None, digits: int | None = None) -> str | None:
    """Describes a commit: `0123abcd with changes`, in full or by its first `digits`; `None` if it is unknown."""
    if not git or not git.get("commit"):
        return None
    return f"{format_value(git['commit'])[:digits]}{' with changes' if git.get('dirty') else ''}"
