"""`dfa data list | fetch | verify`: what there is, bring it here, check it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

app = typer.Typer(no_args_is_help=True, help="The data sets: list them, fetch their files, check them.")


@app.command("list")
def list_data_sets(
    probe: Annotated[
        bool, typer.Option("--probe", help="Also ask the network for what is not here.")
    ] = False,
) -> None:
    """The data sets, their size, and where they are now."""
    from dfa_cli.data.catalogue import CATALOGUE
    from dfa_cli.data.source import Source

    source = Source.default()
    table = _table("name", "gives", ">rows", ">features", ">classes", "where")
    for name, item in CATALOGUE.items():
        where = source.where(name)
        if probe and where == "to be fetched" and source.available(name) is not None:
            where = "not reachable"
        table.add_row(name, item.kind, f"{item.rows:,}", f"{item.features:,}", str(item.classes), where)
    _print(table)


@app.command("fetch")
def fetch_data_sets(names: Annotated[list[str], typer.Argument(metavar="NAME...|all")]) -> None:
    """Bring the files of data sets into the cache, from a mirror folder or else the network."""
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
        except DfaError as error:  # the others can still be fetched
            failures.append(str(error))
            typer.echo(f"{item.name}: failed")
        else:
            typer.echo(f"{item.name}: in the cache, {len(item.files)} files checked")
    if failures:
        raise DfaError("\n".join(failures))


@app.command("verify")
def verify_data_sets(names: Annotated[list[str] | None, typer.Argument(metavar="[NAME...]")] = None) -> None:
    """Compare every copy of every raw file with its SHA-256; the exit code is 1 when one is corrupt."""
    from dfa_cli.data.catalogue import CATALOGUE, entry
    from dfa_cli.data.source import Source

    source = Source.default()
    table = _table("data set", "file", "state", "where")
    corrupt: list[str] = []
    for item in [entry(name) for name in names or CATALOGUE]:
        if not item.files:
            table.add_row(item.name, "-", "embedded", "")
        for found in source.verify(item.name):
            table.add_row(
                item.name, found.file.name, found.state, str(found.path.parent) if found.path else ""
            )
            if found.state == "corrupt":
                corrupt.append(f"{found.path}: {found.detail}")
    _print(table)
    for line in corrupt:
        typer.echo(f"corrupt: {line}", err=True)
    if corrupt:
        raise typer.Exit(1)


def _table(*headings: str) -> Table:
    """A table without rules, which reads the same on a terminal and in a file; `>` aligns to the right."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(
            heading.lstrip(">"),
            justify="right" if heading.startswith(">") else "left",
            overflow="fold",
            no_wrap=heading != "where",
        )
    return table


def _print(table: Table) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 1_000  # a line a row, whatever reads the pipe
    console.print(table)
