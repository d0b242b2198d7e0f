"""The data set that stands in for a default one that cannot be had."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from dfa_cli.config.overrides import quoted
from dfa_cli.config.spec import Job
from dfa_cli.errors import DfaError


def fallback(jobs: Sequence[Job]) -> list[str]:
    """Overrides that put an embedded data set in the place of a default one that cannot be had.

    Only a default falls back: a data set that the user named is fetched, or its absence is the answer.
    """
    from dfa_cli.data.source import Source

    stand_ins: dict[str, str] = {}
    for job in jobs:
        if any(o.partition("=")[0] in ("data", "experiment") for o in job.overrides):
            continue
        name, stand_in = job.choices["data"], job.config["data"].get("stand_in")
        if stand_in is None or name in stand_ins:
            continue
        reason = Source.from_config(job.config["data_dir"], job.config["mirrors"]).available(name)
        if reason is not None:
            stand_ins[name] = f"{name} could not be had ({reason}); {stand_in} took its place"
            taken = stand_in
    if not stand_ins:
        return []
    names = {job.choices["data"] for job in jobs}
    if len(names) > 1:
        missing = ", ".join(stand_ins)
        raise DfaError(
            f"The default data set {missing} cannot be had, and these jobs have several defaults; name the data "
            "set: data=digits_graph serves every model."
        )
    (sentence,) = stand_ins.values()
    print(f"note: {sentence}.", file=sys.stderr, flush=True)
    return [f"data={taken}", f"data_fallback={quoted(sentence)}"]
