"""`dfa plot`: learning curves, bars, a metric against a key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dfa_cli.commands.options import By, Folders, Force, MetricOption, Only, Over, Since, Where
from dfa_cli.commands.selection import _comparison


def plot(
    folders: Folders = None,
    kind: Annotated[
        str | None, typer.Option("--kind", help="curves, bars, or key (with --x).  [default: curves]")
    ] = None,
    x: Annotated[
        str | None, typer.Option("--x", help="A numeric key to draw the metric against: optimizer.lr.")
    ] = None,
    metric: MetricOption = None,
    by: By = None,
    where: Where = None,
    since: Since = None,
    only: Only = None,
    over: Over = "seed",
    band: Annotated[str, typer.Option("--band", help="std, ci (95 %), range or none.")] = "std",
    scale: Annotated[str, typer.Option("--scale", help="Of the x axis: auto, linear or log.")] = "auto",
    start: Annotated[float | None, typer.Option("--from", help="Where the axis of values begins.")] = None,
    title: Annotated[str | None, typer.Option("--title", help="A title above the figure.")] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="File: .png, .svg or .pdf.  [default: dfa-curves.png, dfa-bars.png, ...]"),
    ] = None,
    force: Force = False,
) -> None:
    """Draw learning curves, bars, or a metric against a key: dfa plot --x rule.scale --out scale.pdf."""
    from dfa_cli.console import output
    from dfa_cli.plots import against_key, bars, curves
    from dfa_cli.plots import style as plots

    kind = plots.kind_of(kind, x)
    path = out or Path(f"dfa-{kind}.png")
    plots.check(path, band, scale)
    output.check_free(path, force)
    groups_by = by
    if kind == "curves":
        result = _comparison(folders, where, since, groups_by, None, over, only=only)
        figure = curves.curves(result, metric or "validation_accuracy", band=band, start=start, title=title)
    elif kind == "bars":
        result = _comparison(folders, where, since, groups_by, metric, over, only=only)
        figure = bars.bars(result, band=band, start=start, title=title)
    else:
        result = _comparison(folders, where, since, groups_by, metric, over, only=only, along=x)
        figure = against_key.against(result, str(x), band=band, scale=scale, start=start, title=title)
    output.write_file(path, plots.save(figure, path.suffix), force)
    output.warn(f"wrote {path}")
