"""`dfa compare`: compares groups of runs in a table."""

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
    Only,
    Over,
    Precision,
    Since,
    Sort,
    Test,
    Where,
)
from dfa_cli.commands.selection import Selection, comma_list, make_question
from dfa_cli.errors import DfaError


def compare(
    folders: Folders = None,
    by: By = None,
    metric: MetricOption = None,
    sort: Sort = None,
    only: Only = None,
    where: Where = None,
    since: Since = None,
    columns: Annotated[
        str | None, typer.Option("--columns", help="Columns: mean,std,n,ci,best,time,optimizer.lr, ...")
    ] = None,
    precision: Precision = None,
    over: Over = "seed",
    baseline: Baseline = None,
    test: Test = "t",
    equivalent: Equivalent = None,
    format: Annotated[
        str | None,
        typer.Option(
            "--format", help="table, md, csv, json or latex; default: by the ending of --out, else table."
        ),
    ] = None,
    as_float: Annotated[
        bool, typer.Option("--float", help="LaTeX: a floating table around the tabular.")
    ] = False,
    caption: Annotated[
        str | None, typer.Option("--caption", help="LaTeX: the caption of the float, itself LaTeX.")
    ] = None,
    label: Annotated[
        str | None, typer.Option("--label", help="LaTeX: the label of the float, for \\ref.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write to this file.")] = None,
    force: Force = False,
) -> None:
    """Compare groups of runs: dfa compare --baseline rule=bp --format latex."""
    from dfa_cli.comparison.latex import Float
    from dfa_cli.comparison.tables import FORMATS, render
    from dfa_cli.console import output

    if out:
        output.check_free(out, force)
    if out and not format and out.suffix.lower() not in _FORMAT_OF:
        ends = ", ".join(_FORMAT_OF)
        raise DfaError(f"--out {out} ends in none of {ends}; name the format with --format")
    chosen = format or (_FORMAT_OF[out.suffix.lower()] if out else "table")
    around = Float(caption, label) if as_float or caption is not None or label is not None else None
    if around and chosen in FORMATS and chosen != "latex":
        option = "--float" if as_float else "--label" if caption is None else "--caption"
        raise DfaError(f"{option} is for a LaTeX table, and this one is {chosen}; add --format latex")
    question = make_question(
        by, metric, over, only=only, sort=sort, baseline=baseline, test=test, equivalent=equivalent
    )
    result = Selection(folders, where, since).compare(question)
    width = None if out else output.terminal_width()
    text = render(result, chosen, comma_list(columns), precision, width, around)
    if out:
        output.write_file(out, text, force)
        output.write_stderr(f"wrote {out}")
    else:
        output.write_stdout(text)


_FORMAT_OF = {".txt": "table", ".md": "md", ".csv": "csv", ".json": "json", ".tex": "latex"}
