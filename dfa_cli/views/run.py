"""`dfa show`: shows one run on one screen, or everything about it."""

from __future__ import annotations

import os
from typing import Any

from dfa_cli.config.schema import projects
from dfa_cli.console.chart import draw
from dfa_cli.console.table import wrap
from dfa_cli.console.values import (
    NOTHING,
    duration,
    format_time,
    format_value,
    grouped,
    json_text,
    plural,
    printable,
    quantity,
)
from dfa_cli.records.code import NO_FILE
from dfa_cli.records.keys import choice_names
from dfa_cli.records.measures import METRICS, Metric, note_in_words
from dfa_cli.records.run import CHECKPOINT, UNFINISHED, WEIGHTS, Run
from dfa_cli.records.words import (
    commit_in_words,
    drift_in_words,
    light_in_words,
    noise_in_words,
    part_in_words,
    precision_in_words,
)
from dfa_cli.views.processes import process_table

_INDENT = 30
_METRIC_INDENT = 41
_BRIEF_INDENT = 15


def run_as_text(run: Run, width: int | None = None) -> str:
    """Describes a run on one screen: options, result, curves and cost. Lines are folded to `width`."""
    room = width or 100_000
    lines = _head(run, room, _BRIEF_INDENT)

    def add_line(name: str, words: Any) -> None:
        lines.extend(_entry(name, words, _BRIEF_INDENT, room))

    add_line(*_overrides(run))
    result = run.result
    if result:
        of_epochs = f" of {format_value(run.config['epochs'])}" if "epochs" in run.config else ""
        early = ", stopped early" if result.get("stopped_early") else ""
        best, last = (f"({format_value(result.get(name))}" for name in ("best_epoch", "last_epoch"))
        add_line("test accuracy", f"{_percentage(run, METRICS[0])} at the best validation epoch {best})")
        add_line("", f"{_percentage(run, METRICS[1])} at the last epoch {last}{of_epochs}{early})")
        add_line("validation", f"{_percentage(run, METRICS[2])} at best")
        if run.config.get("weights") == "best" and run.status == "completed":
            add_line("weights", f"of epoch {format_value(result.get('best_epoch'))}, in {WEIGHTS}")
        add_line("split", _split(result))
    else:
        add_line("result", "nothing was measured")
    measured = {metric.name: value for metric in METRICS if (value := metric.value_of(run)) is not None}
    notes = (run.record.get("projection") or {}).get("notes") or {}
    optics = _optics(run, measured, notes) if measured.get("frames") else []
    drift = drift_in_words(run.config, notes)
    # All of it has to fit on a screen, so more lines make the chart lower.
    more = len(optics) + len(drift) + (_resumed(run) is not None) + bool(run.code)
    lines += _charts(run, min(room, 80), height=8 - max(1, more), titles=("accuracy, %",))
    lines.append("")
    times = [
        f"{duration(measured[name])} {words}"
        for name, words in (
            ("total_seconds", "in all"),
            ("train_seconds", "training"),
            ("data_seconds", "reading data"),
        )
        if name in measured
    ]
    add_line("time", ", ".join(times))
    if "peak_memory_mb" in measured:
        add_line("memory", f"{measured['peak_memory_mb']:.0f} MB at most")
    for title, part in (("optics", optics), ("drift", drift)):
        for name, line in zip((title, "", ""), part, strict=False):
            add_line(name, line)
    if processes := _processes(run, width):
        lines += ["", *processes, ""]
    if run.status in UNFINISHED and os.path.isfile(os.path.join(run.folder, CHECKPOINT)):
        add_line("to continue", f"dfa resume {printable(run.id)}")
    add_line("all of it", f"dfa show {printable(run.id)} --all")
    return "\n".join(lines) + "\n"


def run_in_full(run: Run, width: int | None = None) -> str:
    """Describes all that a run has recorded: also the whole configuration and the provenance."""
    room = width or 100_000
    lines = _head(run, room, _INDENT)

    def add_line(name: str, words: Any, indent: int = _INDENT) -> None:
        lines.extend(_entry(name, words, indent, room))

    def begin_part(name: str) -> None:
        lines.extend(["", name])

    begin_part("Result")
    result = run.result
    for metric in METRICS:
        measured = metric.value_of(run)
        if measured is not None and metric.place == "result":
            unit = " %" if metric.unit == "%" else ""
            add_line(f"  {metric.words}", metric.show(measured) + unit, _METRIC_INDENT)
    if result:
        add_line("  split", _split(result), _METRIC_INDENT)
        if result.get("stopped_early"):
            add_line("  stopped early", "yes", _METRIC_INDENT)
    else:
        lines.append("  nothing was measured")
    lines += _charts(run, min(room, 100))

    begin_part("Cost")
    for metric in METRICS:
        measured = metric.value_of(run)
        if measured is None or metric.place == "result":
            continue
        unit = " MB" if metric.unit == "MB" else ""  # `show` writes the others
        add_line(f"  {metric.words}", metric.show(measured) + unit, _METRIC_INDENT)
    for name, note in ((run.record.get("projection") or {}).get("notes") or {}).items():
        words = grouped(note) if isinstance(note, float) else note
        add_line(f"  {note_in_words(name)}", words, _METRIC_INDENT)

    if processes := _processes(run, width):
        lines += ["", *processes]

    begin_part("Configuration")
    add_line("  identity", run.identity)
    name, words = _overrides(run)
    add_line(f"  {name}", words)
    lines += _tree(run.config, room)

    begin_part("Provenance")
    for name, value in run.provenance.items():
        if name == "git" and isinstance(value, dict):
            value = commit_in_words(value) or "no commit known"
        elif isinstance(value, dict):
            value = ", ".join(f"{key} {format_value(part)}" for key, part in value.items())
        add_line(f"  {name.replace('_', ' ')}", value)
    return "\n".join(lines) + "\n"


def _entry(name: str, words: Any, indent: int, room: int) -> list[str]:
    """Writes a name and, from column `indent` on, what it stands for. Without words there is no line."""
    if words in (None, "", [], {}):
        return []
    first, *more = wrap(format_value(words), max(room - indent, 20))
    return [f"{name:<{indent - 1}} {first}", *(" " * indent + line for line in more)]


def _head(run: Run, room: int, indent: int) -> list[str]:
    """Says which run it is, how it ended and where it is."""
    chosen = [
        f"{name}={format_value(value)}"
        for name in choice_names([run])
        if (value := run.choices[name]) and name not in ("tuned", "experiment") and value != "none"
    ] + precision_in_words(run.config)
    # Paths are never folded, so that they can be copied.
    lines = [
        f"run {printable(run.id)}  {run.status}  {format_time(run.created)}",
        *_entry("chosen", " ".join(chosen), indent, room),
        f"{'folder':<{indent - 1}} {format_value(run.folder)}",
    ]
    code = ", ".join(
        f"{format_value(file)} {format_value(checksum or NO_FILE)[:8]}" for file, checksum in run.code.items()
    )
    lines += _entry("own code", code, indent, room)
    lines += _entry("resumed", _resumed(run), indent, room)
    if run.status == "killed":
        lines += _entry("killed", "the record says running, and its process is gone", indent, room)
    error = run.record.get("error") or {}
    if error and error.get("message") != "interrupted":
        kind, message = (
            format_value(error.get(name) or none) for name, none in (("type", "error"), ("message", ""))
        )
        at = f" (epoch {format_value(error['epoch'])})" if error.get("epoch") is not None else ""
        lines += _entry("error", f"{kind}: {message}{at}", indent, room)
        lines.append(f"{'log':<{indent - 1}} {format_value(os.path.join(run.folder, 'run.log'))}")
    lines += _entry("data fallback", run.record.get("data_fallback"), indent, room)
    return [
        *lines,
        *(line for sentence in run.warnings for line in _entry("warning", sentence, indent, room)),
    ]


def _resumed(run: Run) -> str | None:
    """Says when a run was resumed, the last time: `28 Nov 20:01, after epoch 4, in 3 stages`."""
    listed = run.record.get("resumed")
    times = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    if not times:
        return None
    last = times[-1]
    words = [f"{len(times)} times, last on "] if len(times) > 1 else [""]
    words[0] += format_time(str(last.get("at")))
    if "epoch" in last:
        words.append(f"after epoch {format_value(last['epoch'])}")
    part = part_in_words(run.config)
    if isinstance(count := last.get(f"{part}s"), int):
        words.append(f"in {plural(count, part)}")
    return ", ".join(words)


def _processes(run: Run, width: int | None) -> list[str]:
    """Says what the processes of a parallel run sent and when they waited. Without a terminal it is 80 wide."""
    parallel = run.record.get("parallel")
    if not parallel:
        return []
    part = part_in_words(run.config)
    title = f"{part.capitalize()}s, a process each (messages and seconds of a training step, on average)"
    errors = isinstance(run.config.get("rule"), dict) and projects(run.config)
    return [title, *(f"  {line}" for line in process_table(parallel, part, (width or 80) - 2, errors))]


def _optics(run: Run, measured: dict[str, float], notes: dict[str, Any]) -> list[str]:
    """Says what the light took, in all and for a training step, and how good it was."""
    seconds, joules, steps = (measured.get(key) for key in ("modelled_seconds", "modelled_joules", "steps"))
    lines = [f"{measured['frames']:,.0f} frames"]
    if seconds is not None and joules is not None:
        lines[0] += f", modelled {light_in_words(seconds, joules)}"
        if steps:
            step = duration(seconds / steps, fine=True)
            lines[0] += f" ({step}, {quantity(joules / steps, 'J')} a step)"
    if ratios := noise_in_words(notes):
        lines.append(ratios)
    elif unknown := _read_out_without_ratio(run):
        lines.append(f"SNR not known by formula for device/readout={unknown}; dfa beam measures it")
    return lines


def _read_out_without_ratio(run: Run) -> str | None:
    """Return the option of the read-out if no formula tells its signal-to-noise ratio, though there may be noise."""
    readout = (run.config.get("device") or {}).get("readout") or {}
    target = str(readout.get("_target_"))
    exact = run.config["device"].get("perfect") or target.endswith(".Ideal")
    with_formula = target.startswith("dfa_cli.") and not target.endswith(".Intensity")
    return None if exact or with_formula else format_value(run.choices.get("device/readout") or NOTHING)


def _overrides(run: Run) -> tuple[str, str]:
    """Returns a name for the words that the run was started with, and these words.

    Those of a run of an experiment hold the values of its grid too, which nobody typed.
    """
    name = "overrides" if run.choices.get("experiment") else "set by hand"
    return name, " ".join(format_value(item) for item in run.record.get("overrides") or ())


def _split(result: dict[str, Any]) -> str:
    sizes = ", ".join(f"{format_value(size)} {name}" for name, size in (result.get("sizes") or {}).items())
    return f"{format_value(result.get('split') or NOTHING)} ({sizes})"


def _percentage(run: Run, metric: Metric) -> str:
    return f"{metric.show(metric.value_of(run)):>5} %"


def _charts(
    run: Run, width: int, height: int = 10, titles: tuple[str, ...] = ("accuracy, %", "loss")
) -> list[str]:
    """Draws the accuracies in one chart and the losses in another."""
    curves = run.curves
    epochs = curves.get("epoch", [])
    lines: list[str] = []
    for title, suffix, marks, show in (
        (
            "accuracy, %",
            "_accuracy",
            {"t": "train", "v": "validation", "*": "test"},
            lambda a: f"{100 * a:.1f}",
        ),
        ("loss", "_loss", {"t": "train", "v": "validation"}, lambda a: f"{a:.3g}"),
    ):
        if title not in titles:
            continue
        measured = {mark: curves[name + suffix] for mark, name in marks.items() if name + suffix in curves}
        drawn = draw(measured, epochs, width=width - 2, height=height, show=show)
        if drawn:
            legend = ", ".join(f"{mark} {marks[mark]}" for mark in measured)
            lines += ["", f"  {title}: {legend}", *(f"  {line}" for line in drawn)]
    return lines


def _tree(tree: dict[str, Any], room: int, depth: int = 1) -> list[str]:
    """Lists nested dictionaries, indented as in YAML."""
    lines = []
    for key, value in tree.items():
        before = f"{'  ' * depth}{printable(str(key))}:"
        if isinstance(value, dict) and value:
            lines += [before, *_tree(value, room, depth + 1)]
        else:
            first, *more = wrap(format_value(value), max(room - len(before) - 1, 20))
            lines += [f"{before} {first}", *("  " * (depth + 1) + line for line in more)]
    return lines


def run_as_json(run: Run) -> str:
    """Writes the record as it is on disk, with the run's folder, and with status `killed` if its process is gone."""
    return json_text({**run.record, "status": run.status, "folder": run.folder})
