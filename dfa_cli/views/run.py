"""`dfa show`: shows everything about one run."""

from __future__ import annotations

import json
import os
from typing import Any

from dfa_cli.console.chart import draw
from dfa_cli.console.table import wrap
from dfa_cli.console.values import NOTHING, duration, format_time, format_value, printable, quantity
from dfa_cli.records.measures import METRICS
from dfa_cli.records.run import Run
from dfa_cli.records.words import commit_in_words

_INDENT = 30


def run_as_text(run: Run, width: int | None = None) -> str:
    """Describes a run for people: result, curves, configuration, provenance. Lines are folded to `width`."""
    lines: list[str] = []
    room = width or 100_000

    def add_line(name: str, words: Any) -> None:
        if words not in (None, "", [], {}):
            shown = wrap(format_value(words), max(room - _INDENT, 20))
            lines.append(f"{name:<{_INDENT - 1}} {shown[0]}")
            lines.extend(" " * _INDENT + more for more in shown[1:])

    def begin_part(name: str) -> None:
        lines.extend(["", name])

    chosen = [
        f"{name}={format_value(value)}"
        for name, value in run.choices.items()
        if value and name not in ("tuned", "experiment")
    ]
    lines.append(f"run {printable(run.id)}  {run.status}  {format_time(run.created)}")
    add_line("chosen", " ".join(chosen))
    # The folder is never folded, so that it can be copied.
    lines.append(f"{'folder':<{_INDENT - 1}} {format_value(run.folder)}")
    if run.status == "killed":
        add_line("killed", "the record says running, and its process is gone")
    error = run.record.get("error") or {}
    if error and error.get("message") != "interrupted":
        at = f" (epoch {format_value(error['epoch'])})" if error.get("epoch") is not None else ""
        add_line(
            "error",
            f"{format_value(error.get('type') or 'error')}: {format_value(error.get('message') or '')}{at}",
        )
        lines.append(f"{'log':<{_INDENT - 1}} {format_value(os.path.join(run.folder, 'run.log'))}")
    add_line("data fallback", run.record.get("data_fallback"))

    begin_part("Result")
    result = run.result
    for metric in METRICS:
        measured = metric.of(run)
        if measured is not None and metric.place == "result":
            add_line(f"  {metric.words}", metric.show(measured) + (" %" if metric.unit == "%" else ""))
    if result:
        sizes = ", ".join(
            f"{format_value(size)} {name}" for name, size in (result.get("sizes") or {}).items()
        )
        add_line("  split", f"{format_value(result.get('split') or NOTHING)} ({sizes})")
        if result.get("stopped_early"):
            add_line("  stopped early", "yes")
    else:
        lines.append("  nothing was measured")
    lines += _charts(run, min(room, 100))

    begin_part("Cost")
    for metric in METRICS:
        measured = metric.of(run)
        if measured is None or metric.place == "result":
            continue
        if metric.name == "peak_memory_mb":
            add_line("  peak memory", f"{measured:.0f} MB")
        else:
            add_line(
                f"  {metric.words}",
                duration(measured) if metric.unit == "s" else quantity(measured, metric.unit),
            )
    for name, note in ((run.record.get("projection") or {}).get("notes") or {}).items():
        add_line(f"  {name.replace('_', ' ')}", note)

    begin_part("Configuration")
    add_line("  identity", run.identity)
    add_line("  set by hand", " ".join(format_value(item) for item in run.record.get("overrides") or ()))
    lines += _tree(run.config, room)

    begin_part("Provenance")
    for name, value in run.provenance.items():
        if name == "git" and isinstance(value, dict):
            value = commit_in_words(value) or "no commit known"
        elif isinstance(value, dict):
            value = ", ".join(f"{key} {format_value(part)}" for key, part in value.items())
        add_line(f"  {name.replace('_', ' ')}", value)
    return "\n".join(lines) + "\n"


def _charts(run: Run, width: int) -> list[str]:
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
        measured = {mark: curves[name + suffix] for mark, name in marks.items() if name + suffix in curves}
        drawn = draw(measured, epochs, width=width - 2, height=10, show=show)
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
    whole = {**run.record, "status": run.status, "folder": run.folder}
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"
