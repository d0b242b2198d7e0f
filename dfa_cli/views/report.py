"""`dfa report`: writes one HTML page with everything. It needs no network, has one script, and escapes all text."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from dfa_cli.comparison.captions import constants, split_caption, title
from dfa_cli.comparison.columns import columns
from dfa_cli.comparison.comparison import Comparison, compare
from dfa_cli.comparison.grouping import key_value
from dfa_cli.comparison.question import Question
from dfa_cli.console.values import MISSING, format_time, format_value, number, plural
from dfa_cli.errors import DfaError
from dfa_cli.records.keys import affects_result
from dfa_cli.records.log import LOG
from dfa_cli.records.measures import DEFAULT
from dfa_cli.records.run import STATUSES, UNFINISHED, Run
from dfa_cli.records.words import commit_in_words, run_in_words
from dfa_cli.views.listing import COLUMNS, failure

MOST_FIGURES = 4  # the most figures of the metric against a key
TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Cell:
    """A cell of a table. `shown`: its text. `value`: what it is sorted by, if not its text. `look`: its CSS class."""

    shown: str
    value: Any = None
    look: str = ""

    @property
    def sorted_by(self) -> Any:
        return self.shown if self.value is None else "" if self.value is MISSING else self.value


@dataclass(frozen=True)
class Row:
    """A row of a table. `look`: its CSS class."""

    cells: Sequence[Cell]
    look: str = ""


@dataclass(frozen=True)
class Table:
    """A table of the page.

    `name`: its id. `heads`: each heading, and whether its column is text. `search`: whether a box filters
    the rows.
    """

    name: str
    heads: Sequence[tuple[str, bool]]
    rows: Sequence[Row]
    search: bool = False


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
    figures: list[tuple[str, str]] = field(repr=False)
    differences: Table | None
    failures: Table | None
    skipped: list[tuple[str, str]]
    provenance: Table | None
    runs: Table
    metric: str


def report_page(result: Comparison, runs: Sequence[Run], heading: str, places: Sequence[str]) -> str:
    """Writes the page for a comparison and for all runs that were found."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    now = datetime.now().astimezone().strftime("%d %B %Y, %H:%M %Z")
    counts = {status: sum(run.status == status for run in runs) for status in STATUSES}
    about = [f"Split: {split_caption(result)}."] if result.splits else []
    about += [f"The same in all rows: {constants(result)}."] if constants(result) else []
    page = Page(
        heading=heading,
        origin=f"{plural(len(runs), 'run')} from {', '.join(places)}, read on {now}",
        counts={status: count for status, count in counts.items() if count},
        comparison=_comparison_table(result),
        caption=title(result),
        about=about,
        notes=result.notes(),
        figures=_figures(result, runs),
        differences=_differences_table(result),
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


def _comparison_table(result: Comparison) -> Table:
    chosen = columns(result)
    rows = []
    for group in result.groups:
        cells = []
        for column in chosen:
            raw = next(iter(column.raw(group).values()))
            value = MISSING if raw is None else raw if number(raw) is not None else None
            cells.append(Cell(column.cell(group), value))
        rows.append(Row(cells, "base" if group.is_baseline else ""))
    return Table("comparison", [(column.heading, column.left) for column in chosen], rows, search=True)


def _figures(result: Comparison, runs: Sequence[Run]) -> list[tuple[str, str]]:
    """Draws the figures, and returns for each what it shows in words and its SVG in base 64.

    A figure for which nothing was measured is left out.
    """
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
        if len({value for group in result.groups if (value := number(group.key[key])) is not None}) > 1
    ]
    for key in numeric[:MOST_FIGURES]:
        along = compare(runs, Question(by=result.columns, metric=result.metric, over=result.over, along=key))
        wanted.append(
            (f"{result.metric.words} against {key}", lambda along=along, key=key: draw_against(along, key))
        )
    figures = []
    for words, draw in wanted:
        try:
            figures.append((words, base64.b64encode(save(draw(), ".svg")).decode()))
        except DfaError:
            continue
    return figures


def _differences_table(result: Comparison) -> Table | None:
    """Lists every key in which the groups differ, so that a value tuned for one of them cannot stay hidden."""
    keys = [
        key
        for key in [*result.columns, *result.dependent_keys]
        if affects_result(key) and not key.endswith("_target_")
    ]
    if not keys or len(result.groups) < 2:
        return None
    rows = []
    for key in keys:
        words = [
            ", ".join(dict.fromkeys(format_value(key_value(run, key)) for run in group.counted or group.runs))
            for group in result.groups
        ]
        common = max(words, key=words.count)
        rows.append(
            Row([Cell(key), *(Cell(word, look="" if word == common else "differs") for word in words)])
        )
    heads = [("key", True), *((group.label(), True) for group in result.groups)]
    return Table("differences", heads, rows)


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
    return Table("provenance", [("of", True), ("is", True), ("runs", False)], rows) if rows else None


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
