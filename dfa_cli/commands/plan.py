"""`dfa plan`: plans one model over several stages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dfa_cli.commands.options import ConfigDir, Force, Overrides


def plan(
    overrides: Overrides = None,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset", help="A model of the literature (conf/preset), or a YAML file; default: gpt3-175b."
        ),
    ] = None,
    hardware: Annotated[
        str, typer.Option("--hardware", help="What a stage runs on (conf/hardware), or a YAML file.")
    ] = "h100",
    stages: Annotated[
        int | None,
        typer.Option(
            "--stages", help="Number of stages, each a process; default: 8, but no more than blocks."
        ),
    ] = None,
    micro_batches: Annotated[
        int | None,
        typer.Option(
            "--micro-batches",
            help="Number of parts of a batch; default: 4 for each stage, if it can be divided so.",
        ),
    ] = None,
    chunks: Annotated[
        int, typer.Option("--chunks", help="Parts of the model on a stage, in the interleaved schedule.")
    ] = 2,
    batch: Annotated[int | None, typer.Option("--batch", help="Rows of a step: tokens, samples.")] = None,
    activations: Annotated[
        str | None, typer.Option("--activations", help="keep or recompute; default: keep.")
    ] = None,
    pattern_rate: Annotated[
        float | None,
        typer.Option(
            "--pattern-rate",
            help="Patterns per second of the OPU, whose camera takes one or several frames of each; default: of the "
            "configured device, or as docs/opu.md computes it.",
        ),
    ] = None,
    patterns_per_row: Annotated[
        int,
        typer.Option("--patterns-per-row", help="Patterns that the OPU shows for each row of the error."),
    ] = 2,
    share_columns: Annotated[
        bool, typer.Option("--share-columns", help="All blocks read one slice of the projection.")
    ] = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="Time the blocks of a configuration on this machine.")
    ] = False,
    sweep: Annotated[
        str | None, typer.Option("--sweep", help="stages=2..64 (doubled each time) or micro-batches=1,4,16.")
    ] = None,
    picture: Annotated[bool, typer.Option("--plot", help="Draw timelines, or with --sweep curves.")] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="File of the picture: .png, .svg or .pdf; default: dfa-plan.png."),
    ] = None,
    form: Annotated[str, typer.Option("--format", help="table, csv or json.")] = "table",
    force: Force = False,
    config_dir: ConfigDir = None,
) -> None:
    """Plan a training step over several stages, by bp and by dfa: dfa plan --preset gpt3-175b --stages 64."""
    from dfa_cli.planner.command import Question, run

    run(
        Question(
            overrides=overrides or [],
            config_dir=None if config_dir is None else str(config_dir),
            preset=preset,
            hardware=hardware,
            stages=stages,
            micro_batches=micro_batches,
            chunks=chunks,
            batch=batch,
            activations=activations,
            pattern_rate=pattern_rate,
            patterns_per_row=patterns_per_row,
            share_columns=share_columns,
            measure=measure,
            sweep=sweep,
            picture=(out or Path("dfa-plan.png")) if picture or out else None,
            form=form,
            force=force,
        )
    )
