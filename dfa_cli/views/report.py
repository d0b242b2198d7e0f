"""One HTML page with everything: no network, no scripts but the few lines below, all text escaped."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

from dfa_cli.comparison.captions import constants, spoken_split, title
from dfa_cli.comparison.columns import columns
from dfa_cli.comparison.comparison import Comparison, compare
from dfa_cli.comparison.question import Question
from dfa_cli.console.values import MISSING, number, text, when
from dfa_cli.errors import DfaError
from dfa_cli.records.keys import enters
from dfa_cli.records.measures import DEFAULT
from dfa_cli.records.run import STATUSES, Run
from dfa_cli.views.listing import COLUMNS as LIST_COLUMNS
from dfa_cli.views.listing import failure

MOST_FIGURES = 4  # of the metric against a key

STYLE = Path(__file__).parent / "templates" / "page.css"
SCRIPT = Path(__file__).parent / "templates" / "page.js"


class Cell:
    """What a cell shows, what it is sorted by, and how it looks."""

    def __init__(self, shown: str, value: Any = None, look: str = ""):
        self.shown = shown
        self.value = shown if value is None else "" if value is MISSING else value
        self.look = look

    def html(self) -> str:
        look = f' class="{self.look}"' if self.look else ""
        return f'<td{look} data-v="{escape(str(self.value))}">{escape(self.shown)}</td>'


def report_page(result: Comparison, runs: Sequence[Run], heading: str, places: Sequence[str]) -> str:
    """The page for a comparison and all the runs that were looked at."""
    style, script = STYLE.read_text("utf-8"), SCRIPT.read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    counts = {status: sum(run.status == status for run in runs) for status in STATUSES}
    tiles = "".join(
        f'<div class="tile"><b class="{status}">{count}</b>{status}</div>'
        for status, count in counts.items()
        if count
    )
    now = datetime.now().astimezone().strftime("%d %B %Y, %H:%M %Z")
    parts = [
        f"<h1>{escape(heading)}</h1>",
        f'<p class="pale">{len(runs)} runs from {escape(", ".join(places))}, read on {escape(now)}</p>',
        f'<div class="tiles">{tiles}</div>',
        _comparison(result),
        _figures(result, runs),
        _differences(result),
        _failures(runs, result.skipped),
        _provenance(runs),
        _all_runs(runs),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(heading)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + f"\n<script>{script}</script>\n</body>\n</html>\n"
    )


def _table(
    name: str, heads: Sequence[tuple[str, bool]], rows: Iterable[tuple[Sequence[Cell], str]], search: bool
) -> str:
    """`heads`: words and whether the column is text; `rows`: cells and the row's look."""
    box = (
        f'<input type="search" data-for="{name}" placeholder="Filter rows" aria-label="Filter rows">'
        if search
        else ""
    )
    head = "".join(
        f'<th scope="col"{" class=l" if left else ""}><button type="button">{escape(words)}</button></th>'
        for words, left in heads
    )
    lines = []
    for cells, look in rows:
        for cell, (_, left) in zip(cells, heads, strict=True):
            cell.look = f"{cell.look} l".strip() if left else cell.look
        lines.append(f"<tr{f' class={look}' if look else ''}>{''.join(cell.html() for cell in cells)}</tr>")
    body = "\n".join(lines)
    return (
        f'{box}<div class="wide"><table class="sortable" id="{name}"><thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def _comparison(result: Comparison) -> str:
    chosen = columns(result)
    rows = []
    for group in result.groups:
        cells = []
        for column in chosen:
            raw = next(iter(column.raw(group).values()))
            cells.append(
                Cell(column.cell(group), MISSING if raw is None else raw if number(raw) is not None else None)
            )
        rows.append((cells, "base" if group.is_baseline else ""))
    about = [f"Split: {spoken_split(result)}."] if result.splits else []
    about += [f"The same in all rows: {constants(result)}."] if result.constant else []
    notes = "".join(f"<li>{escape(note)}</li>" for note in result.notes())
    return (
        f"<h2>{escape(title(result))}</h2>"
        + "".join(f'<p class="pale">{escape(line)}</p>' for line in about)
        + _table("comparison", [(c.heading, c.left) for c in chosen], rows, search=True)
        + (f'<ul class="pale">{notes}</ul>' if notes else "")
    )


def _figures(result: Comparison, runs: Sequence[Run]) -> str:
    from dfa_cli.plots.against_key import draw_against
    from dfa_cli.plots.bars import draw_bars
    from dfa_cli.plots.curves import draw_curves
    from dfa_cli.plots.style import save

    wanted: list[tuple[str, Callable[[], Any]]] = [
        (f"Bars of {result.metric.words}", lambda: draw_bars(result)),
        ("Validation accuracy over epochs", lambda: draw_curves(result, "validation_accuracy")),
    ]
    numeric = [
        key
        for key in result.columns
        if len({held for group in result.groups if (held := number(group.key[key])) is not None}) > 1
    ]
    for key in numeric[:MOST_FIGURES]:
        along = compare(runs, Question(by=result.columns, metric=result.metric, over=result.over, along=key))
        wanted.append(
            (
                f"{result.metric.words} against {key}",
                lambda along=along, key=key: draw_against(along, key),
            )
        )
    images = []
    for words, draw in wanted:
        try:
            picture = base64.b64encode(save(draw(), ".svg")).decode()
        except DfaError:  # nothing was measured that could be drawn
            continue
        images.append(
            f'<figure><img alt="{escape(words)}" src="data:image/svg+xml;base64,{picture}"></figure>'
        )
    return f'<h2>Figures</h2><div class="figures">{"".join(images)}</div>' if images else ""


def _differences(result: Comparison) -> str:
    """Every key in which the groups differ, so that nothing tuned for one of them stays hidden."""
    keys = [key for key in [*result.columns, *result.follows] if enters(key) and not key.endswith("_target_")]
    if not keys or len(result.groups) < 2:
        return ""
    heads = [("key", True), *((group.label(), True) for group in result.groups)]
    rows = []
    for key in keys:
        words = [
            ", ".join(dict.fromkeys(text(result.lens(run, key)) for run in group.counted or group.runs))
            for group in result.groups
        ]
        common = max(words, key=words.count)
        rows.append(
            ([Cell(key), *(Cell(word, look="" if word == common else "differs") for word in words)], "")
        )
    return (
        "<h2>Configuration differences <small>every key in which the rows above differ</small></h2>"
        + _table("differences", heads, rows, search=False)
    )


def _failures(runs: Sequence[Run], skipped: Sequence[tuple[str, str]]) -> str:
    bad = [run for run in runs if run.status in ("failed", "killed", "interrupted")]
    parts = ["<h2>Failures</h2>"]
    if bad:
        heads = [
            ("id", True),
            ("when", True),
            ("status", True),
            ("what", True),
            ("reason", True),
            ("log", True),
        ]
        rows = [
            (
                [
                    Cell(run.id),
                    Cell(when(run.created), run.created),
                    Cell(run.status, look=run.status),
                    Cell(_what(run)),
                    Cell(failure(run) or f"the run was {run.status}", look="w"),
                    Cell(os.path.join(run.folder, "run.log"), look="w"),
                ],
                "",
            )
            for run in bad
        ]
        parts.append(_table("failures", heads, rows, search=len(bad) > 10))
    else:
        parts.append('<p class="pale">No run failed, was interrupted or killed.</p>')
    if skipped:
        lines = "".join(f"<li>{escape(text(folder))}: {escape(reason)}</li>" for folder, reason in skipped)
        parts.append(
            f"<details><summary>{len(skipped)} folders were skipped</summary>"
            f"<ul class=pale>{lines}</ul></details>"
        )
    return "".join(parts)


def _what(run: Run) -> str:
    words = [text(run.choices[name]) for name in ("model", "data", "rule", "device") if run.choices.get(name)]
    return ", ".join([*words, f"seed {text(run.config.get('seed', MISSING))}"])


def _provenance(runs: Sequence[Run]) -> str:
    """What the runs were made with; one line for each different answer, with the number of runs."""
    asked: list[tuple[str, Callable[[dict[str, Any]], Any]]] = [
        ("versions", lambda made: made.get("versions")),
        ("commit", lambda made: _commit(made.get("git") or {})),
        ("host", lambda made: made.get("host")),
        ("platform", lambda made: made.get("platform")),
        ("processor", lambda made: made.get("processor")),
        ("compute", lambda made: made.get("compute")),
        ("threads", lambda made: made.get("threads")),
        ("deterministic", lambda made: made.get("deterministic")),
        ("data checksums (SHA-256)", lambda made: made.get("data_checksums")),
    ]
    rows = []
    for name, get in asked:
        counts: dict[str, int] = {}
        for run in runs:
            held = get(run.provenance)
            if held not in (None, {}, ""):
                words = (
                    ", ".join(f"{key} {text(one)}" for key, one in held.items())
                    if isinstance(held, dict)
                    else text(held)
                )
                counts[words] = counts.get(words, 0) + 1
        rows += [
            ([Cell(name), Cell(words, look="w"), Cell(str(count))], "") for words, count in counts.items()
        ]
    if not rows:
        return ""
    return "<h2>Provenance</h2>" + _table(
        "provenance", [("of", True), ("is", True), ("runs", False)], rows, search=False
    )


def _commit(git: dict[str, Any]) -> str | None:
    return f"{git['commit']}{' with changes' if git.get('dirty') else ''}" if git.get("commit") else None


def _all_runs(runs: Sequence[Run]) -> str:
    heads = [(column.name, column.left) for column in LIST_COLUMNS] + [("command", True)]
    rows = []
    for run in runs:
        cells = []
        for column in LIST_COLUMNS:
            raw = column.raw(run)
            cells.append(
                Cell(
                    column.cell(run),
                    MISSING if raw is None else raw,
                    run.status if column.name == "status" else "",
                )
            )
        cells.append(Cell(text(run.provenance.get("command") or ""), look="w"))
        rows.append((cells, ""))
    note = f'<p class="pale">test %: {escape(DEFAULT.words)}</p>'
    return f"<h2>All runs <small>{len(runs)}</small></h2>" + _table("runs", heads, rows, search=True) + note
