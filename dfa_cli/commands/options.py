"""Options and arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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


# Hydra reads these arguments, --help among them; a short option of ours would tear -cd apart
PASS_ON = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}


def complete(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    from dfa_cli.config.completion import offers

    return offers(context.params.get("overrides") or [], incomplete)


Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="rule=dfa seed=3, and Hydra's own options.", autocompletion=complete),
]
