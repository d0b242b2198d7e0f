"""Declares the options and arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Folders = Annotated[
    list[Path] | None,
    typer.Argument(
        help="Folders to search for runs at any depth, or runs: the start of an id, or 'last'; default: outputs."
    ),
]
Places = Annotated[
    list[Path] | None, typer.Argument(help="Folders to search for the run, at any depth; default: outputs.")
]
Name = Annotated[str, typer.Argument(help="The start of an id, a run's folder, or 'last'.", metavar="RUN")]
Where = Annotated[
    str | None, typer.Option("--where", help='Only runs that fulfil this: "rule=dfa and epochs>100".')
]
Since = Annotated[
    str | None, typer.Option("--since", help="Only runs begun since then: 2026-11-22, today, 2h, 3d.")
]
ConfigDir = Annotated[
    Path | None,
    typer.Option(
        "--config-dir",
        help="The folder of your own classes, if the run uses any.",
        exists=True,
        file_okay=False,
    ),
]
TrustRecord = Annotated[
    bool, typer.Option("--trust", help="Import whatever code the record names, after asking once.")
]
ForceOwner = Annotated[
    bool,
    typer.Option("--force", help="Include runs of other machines, which may still be running."),
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite the file if it exists.")]
By = Annotated[
    str | None,
    typer.Option("--by", help="Keys that define the groups: rule,device; default: all that differ."),
]
MetricOption = Annotated[
    str | None, typer.Option("--metric", help="The metric to compare: accuracy, loss, time, ...")
]
Over = Annotated[str, typer.Option("--over", help="Keys to average over.")]
Only = Annotated[str | None, typer.Option("--only", help='Only these rows: "device=opu_sim".')]
Sort = Annotated[str | None, typer.Option("--sort", help="Column to sort by; a leading - reverses.")]
Baseline = Annotated[
    str | None,
    typer.Option("--baseline", help="The rows to test the others against: rule=bp.", metavar="EXPRESSION"),
]
Test = Annotated[str, typer.Option("--test", help="Test against the baseline: t (paired) or wilcoxon.")]
Equivalent = Annotated[
    float | None,
    typer.Option("--equivalent", help="Call rows equal that are within this many points of the baseline."),
]
Precision = Annotated[int | None, typer.Option("--precision", help="Decimals of the metric.")]


# Pass all arguments to Hydra's parser, --help included. If Typer knew a short option, it would split Hydra's -cd in
# two.
PASS_TO_HYDRA = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}


def complete(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Complete an override for the Tab key. Typer calls this function."""
    from dfa_cli.config.completion import complete_override

    return complete_override(context.params.get("overrides") or [], incomplete)


Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        help="Overrides such as rule=dfa seed=3, and Hydra's own options.", autocompletion=complete
    ),
]
