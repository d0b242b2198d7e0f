"""`dfa report`: writes one self-contained HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dfa_cli.commands.options import (
    Baseline,
    By,
    Equivalent,
    Folders,
    Force,
    MetricOption,
    Over,
    Since,
    Test,
    Where,
)
from dfa_cli.commands.selection import Selection, make_question


def report(
    folders: Folders = None,
    where: Where = None,
    since: Since = None,
    by: By = None,
    metric: MetricOption = None,
    over: Over = "seed",
    baseline: Baseline = None,
    test: Test = "t",
    equivalent: Equivalent = None,
    draw_all: Annotated[bool, typer.Option("--all", help="Draw every row, not only the 20 best.")] = False,
    title: Annotated[str, typer.Option("--title", help="The heading of the page.")] = "Comparison of runs",
    out: Annotated[Path, typer.Option("--out", help="The HTML file to write.")] = Path("dfa-report.html"),
    force: Force = False,
) -> None:
    """Write one self-contained HTML page with tables, plots, failures and provenance."""
    from dfa_cli.comparison.comparison import compare
    from dfa_cli.console import output
    from dfa_cli.views.report import report_page

    output.check_free(out, force)
    found, chosen = Selection(folders, where, since).find()
    question = make_question(by, metric, over, baseline=baseline, test=test, equivalent=equivalent)
    result = compare(chosen, question)
    result.skipped = found.skipped
    output.write_file(out, report_page(result, chosen, title, found.places, draw_all), force)
    output.write_stderr(f"wrote {out}")
