"""The commands that read results. Each imports what it needs when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dfa_cli.errors import DfaError, one_of

Folders = Annotated[
    list[Path] | None, typer.Argument(help="Folders to search for runs, at any depth.  [default: outputs]")
]
Name = Annotated[str, typer.Argument(help="The start of an id, a run's folder, or 'last'.", metavar="RUN")]
Where = Annotated[
    str | None, typer.Option("--where", help='Only runs for which this holds: "rule=dfa and epochs>100".')
]
Since = Annotated[
    str | None, typer.Option("--since", help="Only runs begun since: 2026-11-22, today, 2h, 3d.")
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite the file when it is there.")]
By = Annotated[
    str | None,
    typer.Option("--by", help="Keys that make the groups: rule,device.  [default: all that differ]"),
]
MetricOption = Annotated[
    str | None, typer.Option("--metric", help="What is compared: accuracy, loss, time, ...")
]
Over = Annotated[str, typer.Option("--over", help="What is averaged over.")]
Only = Annotated[str | None, typer.Option("--only", help='Only these rows: "device=opu_sim".')]
Sort = Annotated[str | None, typer.Option("--sort", help="Column to sort by; a leading - reverses.")]
Baseline = Annotated[
    str | None,
    typer.Option("--baseline", help="The rows to test the others against: rule=bp.", metavar="EXPRESSION"),
]
Precision = Annotated[int | None, typer.Option("--precision", help="Decimals of the metric.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    for command in (runs, show, compare, plot, report, diff, clean, export):
        app.command()(command)


def runs(
    folders: Folders = None,
    status: Annotated[
        str | None, typer.Option("--status", help="completed, running, failed, interrupted, killed.")
    ] = None,
    where: Where = None,
    since: Since = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", min=0, help="At most so many, newest first; 0: all.  [default: 50, all in a pipe]"
        ),
    ] = None,
    format: Annotated[str, typer.Option("--format", help="table, csv or json.")] = "table",
    skipped: Annotated[
        bool, typer.Option("--skipped", help="Name every folder that holds no whole record.")
    ] = False,
) -> None:
    """List runs, newest first: dfa runs --status failed --since 2d."""
    from dfa_cli.results import listing, output

    if format not in listing.FORMATS:
        raise DfaError(f"--format: {one_of(format, listing.FORMATS)}")
    _, chosen = _chosen(folders, where, since, status, most_skipped=10**9 if skipped else 5)
    width = output.terminal_width()
    most = (50 if width else 0) if limit is None else limit
    listed = chosen[:most] if most else chosen
    if format == "csv":
        output.emit(listing.as_csv(listed))
    elif format == "json":
        output.emit(listing.as_json(listed))
    else:
        text = listing.as_text(listed, width)
        if len(listed) < len(chosen):
            text += f"{len(listed)} of {len(chosen)} runs; --limit 0 lists all\n"
        output.emit(text)


def show(
    run: Name,
    folders: Folders = None,
    json: Annotated[bool, typer.Option("--json", help="The record, for programs.")] = False,
) -> None:
    """Show everything about one run: dfa show last."""
    from dfa_cli.results import output
    from dfa_cli.results import show as shown
    from dfa_cli.results.pick import pick_run

    chosen = pick_run(run, _places(folders))
    output.emit(shown.as_json(chosen) if json else shown.as_text(chosen, output.terminal_width()))


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
    test: Annotated[str, typer.Option("--test", help="Against the baseline: t (paired) or wilcoxon.")] = "t",
    format: Annotated[
        str | None,
        typer.Option("--format", help="table, md, csv, json or latex.  [default: by --out, else table]"),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write to this file.")] = None,
    force: Force = False,
) -> None:
    """Compare groups of runs: dfa compare --baseline rule=bp --format latex."""
    from dfa_cli.results import output
    from dfa_cli.results.render import render

    if out:
        output.check_free(out, force)
    if out and not format and out.suffix.lower() not in _FORMAT_OF:
        ends = ", ".join(_FORMAT_OF)
        raise DfaError(f"--out {out}: its name ends in none of {ends}; --format says what it is to hold")
    chosen = format or (_FORMAT_OF[out.suffix.lower()] if out else "table")
    result = _comparison(
        folders, where, since, by, metric, over, only=only, sort=sort, baseline=baseline, test=test
    )
    text = render(result, chosen, _listed(columns), precision, None if out else output.terminal_width())
    if out:
        output.write_file(out, text, force)
        output.warn(f"wrote {out}")
    else:
        output.emit(text)


_FORMAT_OF = {".txt": "table", ".md": "md", ".csv": "csv", ".json": "json", ".tex": "latex"}


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
    from dfa_cli.results import output, plots

    kind = plots.kind_of(kind, x)
    path = out or Path(f"dfa-{kind}.png")
    plots.check(path, band, scale)
    output.check_free(path, force)
    groups_by = by
    if kind == "curves":
        result = _comparison(folders, where, since, groups_by, None, over, only=only)
        figure = plots.curves(result, metric or "validation_accuracy", band=band, start=start, title=title)
    elif kind == "bars":
        result = _comparison(folders, where, since, groups_by, metric, over, only=only)
        figure = plots.bars(result, band=band, start=start, title=title)
    else:
        result = _comparison(folders, where, since, groups_by, metric, over, only=only, along=x)
        figure = plots.against(result, str(x), band=band, scale=scale, start=start, title=title)
    output.write_file(path, plots.save(figure, path.suffix), force)
    output.warn(f"wrote {path}")


def report(
    folders: Folders = None,
    where: Where = None,
    since: Since = None,
    by: By = None,
    metric: MetricOption = None,
    over: Over = "seed",
    baseline: Baseline = None,
    test: Annotated[str, typer.Option("--test", help="Against the baseline: t (paired) or wilcoxon.")] = "t",
    title: Annotated[str, typer.Option("--title", help="The heading of the page.")] = "Comparison of runs",
    out: Annotated[Path, typer.Option("--out", help="The HTML file to write.")] = Path("dfa-report.html"),
    force: Force = False,
) -> None:
    """Write one self-contained HTML page with tables, plots, failures and provenance."""
    from dfa_cli.results import output
    from dfa_cli.results import report as page

    output.check_free(out, force)
    found, chosen = _chosen(folders, where, since)
    result = _compare(chosen, by, metric, over, baseline=baseline, test=test)
    result.skipped = found.skipped
    output.write_file(out, page.html(result, chosen, title, found.places), force)
    output.warn(f"wrote {out}")


def diff(one: Name, other: Name, folders: Folders = None) -> None:
    """Show what differs between two runs: dfa diff 3f2a 9c01."""
    from dfa_cli.results import diff as compared
    from dfa_cli.results import output
    from dfa_cli.results.pick import pick_run

    places = _places(folders)
    output.emit(compared.as_text(pick_run(one, places), pick_run(other, places), output.terminal_width()))


def clean(
    folders: Folders = None,
    status: Annotated[
        str | None, typer.Option("--status", help="Only these: failed, interrupted, killed.")
    ] = None,
    where: Where = None,
    since: Since = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete failed, interrupted and killed runs, after asking."""
    import sys

    from dfa_cli.results import clean as cleaning
    from dfa_cli.results import listing, output
    from dfa_cli.results.values import quantity

    _, chosen = _chosen(folders, where, since, status, empty="")
    doomed = cleaning.removable(chosen)
    if not doomed:
        output.emit("nothing to clean: no failed, interrupted or killed run\n")
        return
    output.emit(listing.as_text(doomed, output.terminal_width()))
    count = f"{len(doomed)} run{'s' if len(doomed) > 1 else ''}"
    size = quantity(sum(cleaning.size(run) for run in doomed), "B")
    if not yes:
        if not sys.stdin.isatty():
            raise DfaError(f"nothing was deleted: to delete these {count} without being asked, give --yes")
        typer.confirm(f"delete {count} ({size})?", abort=True)
    stayed = cleaning.remove(doomed)
    for run, reason in stayed:
        output.warn(f"left {run.folder}: {reason}")
    output.emit(f"deleted {len(doomed) - len(stayed)} of {count} ({size})\n")
    if stayed:
        raise typer.Exit(1)


def export(
    folders: Folders = None,
    to: Annotated[str, typer.Option("--to", help="csv, mlflow or tensorboard.")] = "csv",
    out: Annotated[
        Path | None,
        typer.Option("--out", help="File or folder.  [default: dfa-runs.csv, mlruns, tensorboard]"),
    ] = None,
    curves: Annotated[
        bool, typer.Option("--curves", help="CSV: one line an epoch of every run instead.")
    ] = False,
    where: Where = None,
    since: Since = None,
    status: Annotated[str | None, typer.Option("--status", help="Only runs with this status.")] = None,
    force: Force = False,
) -> None:
    """Hand runs to other tools: dfa export --to mlflow."""
    from dfa_cli.results import export as exporting
    from dfa_cli.results import output

    target = exporting.target(to, out, force, curves)
    _, chosen = _chosen(folders, where, since, status)
    count = exporting.write(chosen, to, target, force, curves)
    output.warn(f"wrote {count} run{'s' if count != 1 else ''} to {target}")


def _places(folders: list[Path] | None) -> list[Path]:
    return folders or [Path("outputs")]


def _listed(words: str | None) -> list[str]:
    return [word.strip() for word in words.split(",") if word.strip()] if words else []


def _chosen(
    folders: list[Path] | None,
    where: str | None = None,
    since: str | None = None,
    status: str | None = None,
    most_skipped: int = 5,
    empty: str | None = None,
) -> tuple[Any, list[Any]]:
    """The search and the runs that pass; when none does, a `DfaError`, unless `empty` says that none is
    fine."""
    from dfa_cli.results import output
    from dfa_cli.results.listing import select
    from dfa_cli.results.store import find, find_some

    found = find_some(_places(folders)) if empty is None else find(_places(folders))
    output.name_skipped(found.skipped, most_skipped)
    test = moment = None
    if where and found.runs:
        from dfa_cli.results.keys import Keys
        from dfa_cli.results.query import Query

        test = Query(where, Keys(found.runs))
    if since:
        from dfa_cli.results.since import in_utc

        moment = in_utc(since)
    chosen = select(found.runs, status, test, moment)
    if not chosen and empty is None:
        given = [
            f'--where "{where}"' if where else "",
            f"--since {since}" if since else "",
            f"--status {status}" if status else "",
        ]
        asked = " and ".join(word for word in given if word)
        raise DfaError(
            f"none of the {len(found.runs)} runs in {', '.join(found.places)} fulfils {asked}; ask for less"
        )
    return found, chosen


def _comparison(
    folders: list[Path] | None,
    where: str | None,
    since: str | None,
    by: str | None,
    metric: str | None,
    over: str,
    **options: Any,
) -> Any:
    found, chosen = _chosen(folders, where, since)
    result = _compare(chosen, by, metric, over, **options)
    result.skipped = found.skipped
    return result


def _compare(runs: list[Any], by: str | None, metric: str | None, over: str, **options: Any) -> Any:
    from dfa_cli.results.compare import compare as put_side_by_side
    from dfa_cli.results.metrics import DEFAULT

    return put_side_by_side(
        runs, by=_listed(by), metric=metric or DEFAULT, over=_listed(over) or ["seed"], **options
    )
