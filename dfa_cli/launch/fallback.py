"""Replaces a default data set that cannot be downloaded by one that is embedded in the package."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from dfa_cli.config.overrides import quote_override
from dfa_cli.config.spec import RunSpec
from dfa_cli.errors import DfaError


def stand_in_overrides(specs: Sequence[RunSpec]) -> list[str]:
    """Return overrides that replace a default data set by an embedded one.

    A default is replaced if it is not on this machine and cannot be downloaded. The replacement is reported on standard
    error. Only a default is replaced: if the user named the data set, its absence is an error. The list is empty when
    nothing has to be replaced. Raises `DfaError` when the runs have several defaults, since one override cannot
    replace them all.
    """
    from dfa_cli.data.source import Source

    stand_ins: dict[str, tuple[str, str]] = {}  # data set -> its replacement, and a sentence about it
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
            f"The jobs of this sweep have different default data sets, and dfa can neither find nor download "
            f"{missing}; name one data set for all, such as data=digits_graph, which every model can use."
        )
    ((stand_in, sentence),) = stand_ins.values()
    print(f"note: {sentence}.", file=sys.stderr, flush=True)
    return [f"data={stand_in}", f"data_fallback={quote_override(sentence)}"]
