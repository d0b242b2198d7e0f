"""`dfa report`: writes one HTML page with everything. It needs no network, has one script, and escapes all text."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from dfa_cli.comparison.captions import constants, split_caption, title
from dfa_cli.comparison.columns import Column, columns, notes_on_columns
from dfa_cli.comparison.comparison import Comparison
from dfa_cli.console.values import MISSING, format_time, format_value, number, plural
from dfa_cli.records.log import LOG
from dfa_cli.records.measures import DEFAULT
from dfa_cli.records.run import STATUSES, UNFINISHED, Run
from dfa_cli.records.words import commit_in_words, run_in_words
from dfa_cli.views.differences import Differences, differences
from dfa_cli.views.figures import Drawing, figures
from dfa_cli.views.html_table import Cell, Row, Table
from dfa_cli.views.listing import COLUMNS, failure

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Page:
    """The content of the page, in the order in which templates/report.html.jinja shows it."""

    heading: str
    origin: str
    counts: dict[str, int]
    comparison: Table
    caption: str
    about: list[str]
    notes: list[str]
    figures: list[Drawing]
    differences: Differences | None
    failures: Table | None
    skipped: list[tuple[str, str]]
    provenance: Table | None
    runs: Table
    metric: str


def report_page(
    result: Comparison, runs: Sequence[Run], heading: str, places: Sequence[str], draw_all: bool = False
) -> str:
    """Writes the page for a comparison and for all runs that were found. The figures show every row if `draw_all`."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    now = datetime.now().astimezone().strftime("%d %B %Y, %H:%M %Z")
    counts = {status: sum(run.status == status for run in runs) for status in STATUSES}
    about = [f"Split: {split_caption(result)}."] if result.splits else []
    about += [f"The same in all rows: {constants(result)}."] if constants(result) else []
    chosen = columns(result)
    page = Page(
        heading=heading,
        origin=f"{plural(len(runs), 'run')} from {', '.join(places)}, read on {now}",
        counts={status: count for status, count in counts.items() if count},
        comparison=_comparison_table(result, chosen),
        caption=title(result),
        about=about,
        notes=[*result.notes(), *notes_on_columns(chosen)],
        figures=figures(result, draw_all),
        differences=differences(result),
        failures=_failures_table([run for run in runs if run.status in UNFINISHED]),
        skipped=[(format_value(folder), reason) for folder, reason in result.skipped],
        provenance=_provenance_table(runs),
        runs=_runs_table(runs),
        metric=DEFAULT.words,
    )
    style, script = ((TEMPLATES / name).read_text("utf-8") for name in ("page.css", "page.js"))
    # The content security policy of the page allows only the script with this checksum.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    template = environment.get_template("report.html.jinja")
    return template.render(page=page, style=style, script=script, digest=digest)


def _comparison_table(result: Comparison, chosen: Sequence[Column]) -> Table:
    rows = []
    for group in result.groups:
        cells = []
        for column in chosen:
            raw = next(iter(column.raw(group).values()))
            value = MISSING if raw is None else raw if number(raw) is not None else None
            cells.append(Cell(column.cell(group), value))
        rows.append(Row(cells, "base" if group.is_baseline else ""))
    return Table("comparison", [(column.heading, column.left) for column in chosen], rows, search=True)


def _failures_table(runs: Sequence[Run]) -> Table | None:
    rows = [
        Row(
            [
                Cell(run.id),
                Cell(format_time(run.created), run.created),
                Cell(run.status, look=run.status),
                Cell(run_in_words(run.config, run.choices)),
                Cell(failure(run) or f"the run was {run.status}", look="w"),
                Cell(os.path.join(run.folder, LOG), look="w"),
            ]
        )
        for run in runs
    ]
    heads = [(name, True) for name in ("id", "when", "status", "what", "reason", "log")]
    return Table("failures", heads, rows, search=len(rows) > 10) if rows else None


def _provenance_table(runs: Sequence[Run]) -> Table | None:
    """Lists what the runs were made with: one line for each different value, with the number of runs that have it."""
    parts: list[tuple[str, Callable[[dict[str, Any]], Any]]] = [
        ("versions", lambda provenance: provenance.get("versions")),
        ("commit", lambda provenance: commit_in_words(provenance.get("git"))),
        ("host", lambda provenance: provenance.get("host")),
        ("platform", lambda provenance: provenance.get("platform")),
        ("processor", lambda provenance: provenance.get("processor")),
        ("compute", lambda provenance: provenance.get("compute")),
        ("threads", lambda provenance: provenance.get("threads")),
        ("deterministic", lambda provenance: provenance.get("deterministic")),
        ("data checksums (SHA-256)", lambda provenance: provenance.get("data_checksums")),
    ]
    rows = []
    for name, get in parts:
        counts: dict[str, int] = {}
        for run in runs:
            value = get(run.provenance)
            if value not in (None, {}, ""):
                words = _in_words(value)
                counts[words] = counts.get(words, 0) + 1
        rows += [Row([Cell(name), Cell(words, look="w"), Cell(str(n))]) for words, n in counts.items()]
    return Table("provenance", [("what", True), ("value", True), ("runs", False)], rows) if rows else None


def _in_words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {format_value(part)}" for key, part in value.items())
    return format_value(value)


def _runs_table(runs: Iterable[Run]) -> Table:
    rows = []
    for run in runs:
        cells = []
        for column in COLUMNS:
            raw = column.raw(run)
            look = run.status if column.name == "status" else ""
            cells.append(Cell(column.cell(run), MISSING if raw is None else raw, look))
        rows.append(Row([*cells, Cell(format_value(run.provenance.get("command") or ""), look="w")]))
    heads = [*((column.name, column.left) for column in COLUMNS), ("command", True)]
    return Table("runs", heads, rows, search=True)
