"""`dfa plot`: draws learning curves, bars, a metric against a key, or the timeline of a parallel run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dfa_cli.commands.options import By, Folders, Force, MetricOption, Only, Over, Since, Where
from dfa_cli.commands.selection import Selection, make_question


def plot(
    folders: Folders = None,
    kind: Annotated[
        str | None,
        typer.Option("--kind", help="curves, bars, key (with --x) or timeline; default: curves."),
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
    band: Annotated[
        str, typer.Option("--band", help="Spread to draw: std, ci (95 %), range or none.")
    ] = "std",
    scale: Annotated[str, typer.Option("--scale", help="Scale of the x axis: auto, linear or log.")] = "auto",
    start: Annotated[
        float | None, typer.Option("--from", help="Where the axis of the metric begins.")
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference", help="Rows to draw as a line across: rule=shallow.", metavar="EXPRESSION"
        ),
    ] = None,
    title: Annotated[str | None, typer.Option("--title", help="A title above the figure.")] = None,
    note: Annotated[
        bool, typer.Option("--note/--no-note", help="The text below the figure: data, seeds, band.")
    ] = True,
    width: Annotated[
        str | None, typer.Option("--width", help="Width of the figure: 3.3 (inches), 84mm, 240pt.")
    ] = None,
    height: Annotated[str | None, typer.Option("--height", help="Its height, in the same units.")] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="File: .png, .svg or .pdf; default: dfa-curves.png, dfa-bars.png, ...."),
    ] = None,
    force: Force = False,
) -> None:
    """Draw learning curves, bars, timelines, or a metric against a key: dfa plot --x rule.scale --out scale.pdf."""
    from dfa_cli.console import output
    from dfa_cli.plots.against_key import draw_against
    from dfa_cli.plots.bars import draw_bars
    from dfa_cli.plots.curves import draw_curves
    from dfa_cli.plots.style import Look, check_suffix, figure_kind, save

    kind = figure_kind(kind, x)
    path = out or Path(f"dfa-{kind}.png")
    check_suffix(path)
    look = Look(band, scale, start, title, note, width, height, reference)
    output.check_free(path, force)
    if kind == "timeline":
        from dfa_cli.plots.timeline import draw_timelines, measured_timelines

        _, runs = Selection(folders, where, since).find()
        timelines = measured_timelines(runs)
        below = "One training step. Where there is no bar, the process waits or sends." if look.note else ""
        if below and any(one.has_micro_batches for one in timelines.values()):
            below += " The number in a bar is that of the micro-batch; every second one is paler."
        figure = draw_timelines(timelines, below, look)
        output.write_file(path, save(figure, path.suffix, look.is_sized), force)
        output.write_stderr(f"wrote {path}")
        return
    # For curves, --metric names a column of metrics.csv to draw, and not a metric of the groups.
    compared = None if kind == "curves" else metric
    question = make_question(by, compared, over, only=only, along=x)
    result = Selection(folders, where, since).compare(question)
    if kind == "curves":
        figure = draw_curves(result, metric or "validation_accuracy", look)
    elif kind == "bars":
        figure = draw_bars(result, look)
    else:
        figure = draw_against(result, str(x), look)
    output.write_file(path, save(figure, path.suffix, look.is_sized), force)
    output.write_stderr(f"wrote {path}")
