"""`dfa data list | fetch | verify`: lists the data sets, downloads their files, and checks them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="List the data sets, fetch their files, and check them.")


@app.command("list")
def list_data_sets(
    probe: Annotated[
        bool, typer.Option("--probe", help="Also ask the network whether the missing ones can be fetched.")
    ] = False,
) -> None:
    """List the data sets, with their sizes and where they are now."""
    from dfa_cli.data.catalogue import CATALOGUE
    from dfa_cli.data.source import Source

    source = Source.default()
    rows = []
    for name, item in CATALOGUE.items():
        where = source.where(name)
        if probe and where == "to be fetched" and source.available(name) is not None:
            where = "not reachable"
        rows.append([name, item.kind, f"{item.rows:,}", f"{item.features:,}", str(item.classes), where])
    _write_table(["name", "gives", "rows", "features", "classes", "where"], rows, "llrrrl")


@app.command("fetch")
def fetch_data_sets(names: Annotated[list[str], typer.Argument(metavar="NAME...|all")]) -> None:
    """Fetch the files of data sets into the cache, from a mirror folder or from the network."""
    from dfa_cli.console.values import plural
    from dfa_cli.data.catalogue import CATALOGUE, entry
    from dfa_cli.data.source import Source
    from dfa_cli.errors import DfaError

    source = Source.default()
    failures: list[str] = []
    for item in [entry(name) for name in (CATALOGUE if names == ["all"] else names)]:
        if not item.files:
            typer.echo(f"{item.name}: embedded, nothing to fetch")
            continue
        try:
            source.fetch(item.name)
        except DfaError as error:  # go on: the other data sets may still be fetched
            failures.append(str(error))
            typer.echo(f"{item.name}: failed")
        else:
            typer.echo(f"{item.name}: in the cache, {plural(len(item.files), 'file')} checked")
    if failures:
        raise DfaError("\n".join(failures))


@app.command("verify")
def verify_data_sets(names: Annotated[list[str] | None, typer.Argument(metavar="[NAME...]")] = None) -> None:
    """Check every copy of every raw file against its SHA-256. The exit code is 1 when one is corrupt."""
    from dfa_cli.data.catalogue import CATALOGUE, entry
    from dfa_cli.data.source import Source

    source = Source.default()
    rows = []
    corrupt: list[str] = []
    for item in [entry(name) for name in names or CATALOGUE]:
        if not item.files:
            rows.append([item.name, "-", "embedded", ""])
        for found in source.verify(item.name):
            where = str(found.path.parent) if found.path else ""
            rows.append([item.name, found.file.name, found.state, where])
            if found.state == "corrupt":
                corrupt.append(f"{found.path}: {found.detail}")
    _write_table(["data set", "file", "state", "where"], rows, "llll")
    for line in corrupt:
        typer.echo(f"corrupt: {line}", err=True)
    if corrupt:
        raise typer.Exit(1)


def _write_table(heads: Sequence[str], rows: Sequence[Sequence[str]], sides: str) -> None:
    """Write a table whose last column is wrapped in a narrow terminal. `sides`: l (left) or r (right) for each."""
    from dfa_cli.console import output
    from dfa_cli.console.table import lay_out

    left = [side == "l" for side in sides]
    width = output.terminal_width()
    lines = lay_out(heads, rows, left, keys=len(heads) - 1, width=width, header_line=False)
    output.write_stdout("\n".join(lines) + "\n")
