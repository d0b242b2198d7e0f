"""The data set that stands in for a default one that cannot be had."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from dfa_cli.config.overrides import quote_override
from dfa_cli.config.spec import RunSpec
from dfa_cli.errors import DfaError


def stand_in_overrides(specs: Sequence[RunSpec]) -> list[str]:
    """Overrides that put an embedded data set in the place of a default one that cannot be had; says so.

    Only a default is replaced: a data set that the user named is fetched, or its absence is the answer. Raises
    `DfaError` when runs with several defaults would need several overrides.
    """
    from dfa_cli.data.source import Source

    stand_ins: dict[str, tuple[str, str]] = {}  # data set -> what takes its place, and the sentence about it
    for spec in specs:
        if any(word.partition("=")[0] in ("data", "experiment") for word in spec.overrides):
            continue
        name, stand_in = spec.choices["data"], spec.config["data"].get("stand_in")
        if stand_in is None or name in stand_ins:
            continue
        reason = Source.from_config(spec.config["data_dir"], spec.config["mirrors"]).available(name)
        if reason is not None:
            stand_ins[name] = stand_in, f"{name} could not be had ({reason}); {stand_in} took its place"
    if not stand_ins:
        return []
    if len({spec.choices["data"] for spec in specs}) > 1:
        missing = ", ".join(stand_ins)
        raise DfaError(
            f"The default data set {missing} cannot be had, and these jobs have several defaults; name the data "
            "set: data=digits_graph serves every model."
        )
    ((stand_in, sentence),) = stand_ins.values()
    print(f"note: {sentence}.", file=sys.stderr, flush=True)
    return [f"data={stand_in}", f"data_fallback={quote_override(sentence)}"]
