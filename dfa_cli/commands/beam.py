"""`dfa beam`: shows the way of the light through the simulated optics."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dfa_cli.commands.options import ConfigDir, Force, Overrides


def beam(
    overrides: Overrides = None,
    inputs: Annotated[
        int, typer.Option("--inputs", help="Components of the error, as many as there are classes.")
    ] = 10,
    outputs: Annotated[
        int, typer.Option("--outputs", help="Modes that are read, as many as the feedback has columns.")
    ] = 8192,
    lit: Annotated[
        int | None,
        typer.Option(
            "--lit", help="Number of components to light at random; default: as the encoding shows an error."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Draw the path of the light: a .png, .svg or .pdf file.")
    ] = None,
    force: Force = False,
    config_dir: ConfigDir = None,
) -> None:
    """Follow a pattern through the simulated optics, and divide the noise by its sources: dfa beam device=opu_sim."""
    from dfa_cli.beam.command import run

    config = None if config_dir is None else str(config_dir)
    run(overrides or [], config, inputs, outputs, lit, out, force)
