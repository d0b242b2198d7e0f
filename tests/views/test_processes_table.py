"""The part of `dfa show` and `dfa plot` about the processes of a parallel run, whatever its record holds."""

from __future__ import annotations

from typing import Any

import pytest

from dfa_cli.errors import DfaError
from dfa_cli.plots.timeline import measured_timelines
from dfa_cli.records.run import Run
from dfa_cli.views.processes import process_table

SPAN = {"from": 0.5, "to": 0.75, "kind": "weights", "micro_batch": 3}
STAGE: dict[str, Any] = {
    "blocks": [1, 2, 4],
    "steps": 2,
    "sent": {"forward": {"messages": 4, "bytes": 8000}},
    "seconds": {"computing": 1.0},
    "timeline": [SPAN],
}
ODD = [None, 7, "x", [], [1], {}, {"a": 1}, 10**400, float("nan")]


def test_a_process_has_a_row() -> None:
    row = process_table({"stages": [STAGE]}, "stage", 200)[-1]
    assert " ".join(row.split()) == "1 1-2, 4 2 x 2.00 kB 500 ms – – 0 B"


def test_what_travels_has_the_names_of_the_plan() -> None:
    sent = {name: {"messages": 2, "bytes": 2000} for name in ("forward", "backward", "projection")}
    stages = {"stages": [{**STAGE, "sent": sent}]}
    errors, gradients = (
        " ".join(process_table(stages, "stage", 200, projects)[0].split()) for projects in (True, False)
    )
    assert errors.startswith("stage blocks forward sent error sent feedback sent")
    assert gradients.startswith("stage blocks forward sent backward sent feedback sent")


@pytest.mark.parametrize("odd", ODD, ids=str)
def test_a_damaged_part_is_left_out(odd: object) -> None:
    process_table({"stages": odd}, "stage", 80)
    damaged = [odd, *({**STAGE, name: odd} for name in STAGE)]
    damaged += [
        {**STAGE, "sent": {"forward": odd}},
        {**STAGE, "sent": {"forward": {"messages": odd, "bytes": 1}}},
    ]
    spans = [odd, *({**SPAN, name: odd} for name in SPAN if odd != 7), SPAN]
    assert len(process_table({"stages": damaged}, "stage", 200)) >= 8
    run = Run("folder", {"status": "completed", "choices": {}, "config": {}, "parallel": {"stages": damaged}})
    run.record["parallel"]["stages"].append({**STAGE, "timeline": spans})
    (timeline,) = measured_timelines([run]).values()
    assert {(bar.start, bar.seconds, bar.work, bar.micro_batch) for bar in timeline.bars} == {
        (0.5, 0.25, "weight gradients", 3)
    }
    run.record["parallel"]["stages"] = odd
    with pytest.raises(DfaError, match="no run here has a timeline"):
        measured_timelines([run])
